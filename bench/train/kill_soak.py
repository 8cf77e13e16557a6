#!/usr/bin/env python3
"""Kills training runs without mercy and checks what is left.

  kill_soak.py --build build --kills 200 --optimizer optim-adamw-nvfp4 [--out result.json] [--keep FOLDER]

A tiny random model is trained with a checkpoint after every step. Again and again the run is killed with SIGKILL, at any
moment from its start on (half of the time while it trains), the engine alone, the launcher alone, or both; then it goes on
from its latest checkpoint. After each kill `latest` must verify, and it must be what an undisturbed run has at that step:
every tensor's checksum and the whole state, compared with a second run of the same config that nobody kills. At the end both
go on to the same step, and must meet to the bit. Exit code 0: all of that held.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [("who are you", "I am Tetrad."), ("hello", "yes"), ("one", "two three"), ("red", "green, blue"), ("up", "down"),
         ("a", "b c d e f"), ("left", "right"), ("sun", "moon and stars"), ("x", "y"), ("day", "night")]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Soak:
    def __init__(self, arguments, place):
        self.a, self.place = arguments, place
        self.host = Path(arguments.build) / "bin/host"
        probe = Path(arguments.build) / "tests/train_probe"
        subprocess.run([probe, "tiny-model", place / "model"], check=True)
        (place / "pairs.tsv").write_text("".join(f"{p}\t{t}\n" for p, t in PAIRS))
        self.random = random.Random(arguments.seed)

    def command(self, name):
        values = {"model.path": self.place / "model", "model.dtype": "float32", "model.device": self.a.device,
                  "optimizer.plugin": self.a.optimizer, "train.data": json.dumps([str(self.place / "pairs.tsv")]),
                  "train.rows": 2, "train.width": 160, "train.steps": 1_000_000, "train.schedule": "constant",
                  "train.warmup_steps": 0, "train.learning_rate": 1e-4, "train.save_dir": self.place / name,
                  "train.save_every": 1, "train.resume": "true", "run.dir": self.place / "runs", "run.threads": 1,
                  "run.deterministic": "true", "guard.limit_gb": "none", **dict(s.split("=", 1) for s in self.a.set)}
        if name == "undisturbed":  # keeps all its checkpoints, to be compared with
            values["train.keep_last"] = 1_000_000
        command = [self.host, "train", "--config", ROOT / "configs/train-base.yaml"]
        for key, value in values.items():
            command += ["--set", f"{key}={value}"]
        return list(map(str, command))

    def start(self, name):
        return subprocess.Popen(self.command(name), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=open(self.place / f"{name}.log", "w"), start_new_session=True)

    def wait_for_step(self, name, process, minutes=3):
        """Until the run says that it trains."""
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            log = (self.place / f"{name}.log").read_text(errors="replace")
            if "[train] step " in log:
                return
            if process.poll() is not None:
                raise SystemExit(f"the run ended by itself with exit code {process.returncode}:\n{log}")
            time.sleep(0.01)
        raise SystemExit(f"no step within {minutes} minutes:\n{log}")

    def kill(self, process, whom):
        """SIGKILL to the engine, to the launcher, or to both; waits until nothing of the run is left."""
        engines = children(process.pid)
        if not engines:  # it has only just begun
            whom = "launcher"
        if whom != "launcher":
            for pid in engines:
                end(pid)
        if whom != "engine":
            end(process.pid)
        process.wait(60)
        for pid in engines:
            until = time.monotonic() + 60
            while alive(pid):
                if time.monotonic() > until:
                    raise SystemExit(f"process {pid} outlived its launcher")
                time.sleep(0.005)
        return whom

    def latest(self, name):
        """The folder that `latest` names, after every byte in it was verified; None when there is none yet."""
        pointer = self.place / name / "latest"
        if not pointer.exists():
            return None
        folder = self.place / name / pointer.read_text().strip()
        result = subprocess.run([self.host, "checkpoints", "verify", folder], capture_output=True, text=True)
        if result.returncode != 0:
            raise SystemExit(f"the latest checkpoint is not whole:\n{result.stdout}{result.stderr}")
        return folder


def children(pid):
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def content(folder):
    """What a checkpoint holds, apart from the settings that are stored for people (they name folders)."""
    manifest = json.loads((folder / "manifest.json").read_text())["checkpoint"]
    state = json.loads((folder / "state.json").read_text())
    state.pop("settings", None)
    tensors = {n: t for g in manifest["groups"].values() for n, t in g["tensors"].items()}
    return {"step": manifest["step"], "identity": manifest["identity"], "tensors": tensors, "state": state}


def run(a, place):
    soak = Soak(a, place)
    say(f"[soak] {a.kills} kills, {a.optimizer}, {place}")
    kept, started = {}, time.monotonic()
    counts = {"engine": 0, "launcher": 0, "both": 0, "before_training": 0}
    for kill in range(1, a.kills + 1):
        process = soak.start("killed")
        if soak.random.random() < 0.5:
            soak.wait_for_step("killed", process)
            time.sleep(soak.random.uniform(0, a.longest))
        else:
            time.sleep(soak.random.uniform(0, a.longest))
        trained = "[train] step " in (place / "killed.log").read_text(errors="replace")
        whom = soak.random.choice(["engine", "launcher", "both"])
        counts[soak.kill(process, whom)] += 1
        counts["before_training"] += not trained
        folder = soak.latest("killed")
        if folder:
            here = content(folder)
            if kept and here["step"] < max(kept):
                raise SystemExit(f"kill {kill}: latest went back from step {max(kept)} to {here['step']}")
            if kept.setdefault(here["step"], here) != here:
                raise SystemExit(f"kill {kill}: step {here['step']} changed")
        if kill % 10 == 0 or kill == a.kills:
            say(f"[soak] kill {kill}: latest is step {max(kept, default='none')}, {time.monotonic() - started:.0f} s")
    # A last time, to a step behind all kills.
    process = soak.start("killed")
    soak.wait_for_step("killed", process)
    soak.kill(process, "both")
    last = content(soak.latest("killed"))
    kept[last["step"]] = last

    say(f"[soak] the undisturbed run to step {last['step']}")
    process = soak.start("undisturbed")
    pointer = place / "undisturbed" / f"step-{last['step']:08}"
    while not pointer.exists():
        if process.poll() is not None:
            raise SystemExit((place / "undisturbed.log").read_text())
        time.sleep(0.05)
    soak.kill(process, "both")
    for step, here in sorted(kept.items()):
        there = content(place / "undisturbed" / f"step-{step:08}")
        if there != here:
            parts = [k for k in here if here[k] != there[k]]
            tensors = [n for n in here["tensors"] if here["tensors"][n] != there["tensors"].get(n)]
            raise SystemExit(f"step {step} differs from the undisturbed run: {parts} {tensors[:5]} "
                             f"{here['state']} {there['state']}")
    leftovers = sorted(p.name for p in (place / "killed").iterdir())
    result = {"kills": a.kills, "optimizer": a.optimizer, "device": a.device, "seed": a.seed, "last_step": last["step"],
              "compared_steps": len(kept), "tensors": len(last["tensors"]), "killed": counts, "left": leftovers,
              "seconds": round(time.monotonic() - started, 1), "result": "every checkpoint whole and equal to the bit"}
    print(json.dumps(result, indent=1))
    if a.out:
        Path(a.out).write_text(json.dumps(result, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=ROOT / "build")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--optimizer", default="optim-adamw-nvfp4")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--longest", type=float, default=1.5, help="seconds that a run trains at most before it is killed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="PATH=VALUE of the config, as with host")
    parser.add_argument("--out", help="file for the result as JSON")
    parser.add_argument("--keep", type=Path, help="folder for everything; kept")
    a = parser.parse_args()
    if a.keep:
        shutil.rmtree(a.keep, ignore_errors=True)
        a.keep.mkdir(parents=True)
        return run(a, a.keep)
    with tempfile.TemporaryDirectory(prefix="tetrad-soak-") as place:
        run(a, Path(place))


if __name__ == "__main__":
    main()
