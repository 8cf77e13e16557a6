#!/usr/bin/env python3
"""Measures what 4-bit training costs in loss: the same data and seeds under several optimizers.

  quality.py scratch  --text DIR --work FOLDER [--device cuda --jobs 6] --out scratch.json --plot scratch.svg
  quality.py finetune --text DIR --work FOLDER --model models/default [--device cuda --jobs 6] --out finetune.json --plot finetune.svg
  quality.py prepare  --text DIR --work FOLDER            makes the scratch study's models, for a machine without `tokenizers`

scratch   a Qwen3 model of 2.4 million parameters (scratch_model.py) learns DIR/valid.txt, `--epochs` times (at most 4);
          measured on DIR/test.txt
finetune  a trained model goes on with DIR/valid.txt, 160 steps of 512 tokens at 5e-5; measured on DIR/test.txt

Each arm is a `host train` run of its own, `--jobs` of them at once, and leaves FOLDER/<study>/<arm>-<seed>.json. A run that is
there already is not made again: a study that was stopped, or whose `--within` seconds were over, goes on where it was. After each run
its weights are written dense, quantised anew to one NVFP4 plane and measured on the same text (`requantised`).

The summary has, as mean and range over the seeds: the training loss over the last tenth of the steps; the validation loss at the step
where fp32's is lowest, and at the end, for each reading of the weights (hi+lo, hi); that of the weights quantised anew; and
the gaps to fp32 and, for models that are one plane at the end, to QAT, in percent, seed by seed. Activations are
float32 (but for `bf16 stochastic` and `int8`), so that what differs is how w, grad, m and v are stored.
"""
import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parent))
import curves  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DENSE = {"linear.plugin": "backend-bf16", "model.dtype": "float32"}
PLANES = {"linear.plugin": "backend-nvfp4", "model.dtype": "float32", "optimizer.plugin": "optim-adamw-nvfp4"}
QAT = {"linear.plugin": "backend-nvfp4", "model.dtype": "float32", "optimizer.plugin": "optim-adamw"}
ARMS = {
    "fp32": {**DENSE, "optimizer.plugin": "optim-adamw"},
    "hi+lo": PLANES,
    "hi+lo+finish": PLANES,
    "QAT": QAT,
    "planes 3": {**PLANES, "optimizer.options.planes": 3},
    "planes 1": {**PLANES, "optimizer.options.planes": 1},
    "bf16 stochastic": {**DENSE, "model.dtype": "bfloat16", "optimizer.plugin": "optim-adamw",
                        "optimizer.options.master": "none", "optimizer.options.gradient": "bf16"},
    "literal": {**PLANES, "optimizer.options.literal": "true"},
    "finish 25 %": PLANES,
    "int8": {**DENSE, "model.dtype": "bfloat16", "optimizer.plugin": "optim-adamw-int8"},
}
# Share of the steps that train hi, and the highest learning rate of their own schedule over the run's (none: the run's goes on).
FINISH = {"scratch": {"hi+lo+finish": (0.25, None), "finish 25 %": (0.25, 1.0)},
          "finetune": {"hi+lo+finish": (0.5, 4.0), "finish 25 %": (0.25, 4.0)}}
STANDARD = "fp32,hi+lo,hi+lo+finish,QAT,planes 3,planes 1,bf16 stochastic,literal"


class OutOfTime(Exception):
    pass


def say(text):
    print(text, file=sys.stderr, flush=True)


def stem(arm, seed):
    return f"{re.sub('[^A-Za-z0-9+]+', '_', arm).strip('_')}-{seed}"


class Study:
    def __init__(self, a):
        self.a = a
        self.folder = a.work / a.study
        self.folder.mkdir(parents=True, exist_ok=True)
        self.train, self.test = a.text / "valid.txt", a.text / "test.txt"
        self.deadline = time.monotonic() + a.within if a.within else None
        self.lock, self.counted = threading.Lock(), None
        if a.study == "scratch":
            self.settings = {"train.rows": 8, "train.width": 256, "train.learning_rate": 2e-3, "train.weight_decay": 0.1,
                             "train.warmup_steps": 20, "train.final_share": 0.05, "train.eval_batches": 12}
        else:
            self.settings = {"train.rows": 2, "train.width": 256, "train.learning_rate": 5e-5, "train.warmup_steps": 8,
                             "train.eval_batches": 32}

    def model(self, seed):
        if self.a.study == "finetune":
            return self.a.model
        place = self.folder / f"model-{seed}"
        with self.lock:
            if not place.exists():
                import scratch_model
                half = place.with_suffix(".new")
                shutil.rmtree(half, ignore_errors=True)
                say(f"{scratch_model.make(half, self.train, seed=seed):,} parameters, seed {seed}")
                half.rename(place)
        return place

    def steps(self, seed):
        if self.a.steps:
            return self.a.steps
        if self.a.study == "finetune":
            return 160
        model = self.model(seed)
        with self.lock:  # the tokenizer is the same for every seed
            if self.counted is None:
                done = subprocess.run([self.a.host, "tokenize", "--model", model], stdin=open(self.train, "rb"), capture_output=True,
                                      check=True)
                self.counted = len(json.loads(done.stdout))
        return self.counted * self.a.epochs // (self.settings["train.rows"] * self.settings["train.width"])

    def host_train(self, name, values):
        """One `host train`; its record.json and config.json."""
        runs = self.folder / f"runs-{name}"
        shutil.rmtree(runs, ignore_errors=True)
        command = [str(self.a.host), "train", "--config", str(self.a.configs / "train-base.yaml")]
        for key, value in {**values, "run.dir": runs, "guard.limit_gb": "none"}.items():
            command += ["--set", f"{key}={value}"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
        try:
            left = max(self.deadline - time.monotonic(), 0.1) if self.deadline else None
            errors = child.communicate(timeout=left)[1]
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGTERM)
            child.communicate()
            raise OutOfTime from None
        if child.returncode:
            raise RuntimeError(f"exit code {child.returncode}\n{errors[-3000:]}")
        folder = next(runs.iterdir())
        record, config = (json.loads((folder / f).read_text()) for f in ("record.json", "config.json"))
        shutil.rmtree(runs)
        return record, config

    def requantised(self, name, exported, seed):
        """Validation loss of the exported values, each matrix in one NVFP4 plane. Nothing is trained: the learning rate is 0."""
        values = {**self.data(seed), **QAT, "model.path": exported, "train.learning_rate": 0, "train.steps": 1}
        values["train.warmup_steps"] = 0
        record, _ = self.host_train(f"{name}-requantised", values)
        return record["evaluations"][0]["loss"]

    def data(self, seed):
        return {**self.settings, "model.device": self.a.device, "train.data": json.dumps([str(self.train)]),
                "train.eval_data": self.test, "train.seed": seed}

    def run(self, arm, seed):
        name = stem(arm, seed)
        out = self.folder / f"{name}.json"
        if out.exists():
            return json.loads(out.read_text())
        if self.deadline and time.monotonic() > self.deadline:
            raise OutOfTime
        steps = self.steps(seed)
        exported = self.folder / f"export-{name}"
        shutil.rmtree(exported, ignore_errors=True)
        values = {**self.data(seed), "model.path": self.model(seed), "train.steps": steps,
                  "train.eval_every": max(steps // (12 if self.a.study == "scratch" else 2), 1), **ARMS[arm]}
        values["train.warmup_steps"] = min(self.settings["train.warmup_steps"], steps // 2)
        if arm in FINISH[self.a.study]:
            share, rate = FINISH[self.a.study][arm]
            values["train.finish.steps"] = max(round(share * steps), 1)
            if rate:
                values["train.finish.learning_rate"] = rate * self.settings["train.learning_rate"]
        if self.a.requantise:
            values.update({"train.export_dir": exported, "train.export_python": "none"})
        start = time.monotonic()
        record, config = self.host_train(name, values)
        result = {"arm": arm, "seed": seed, "steps": len(record["losses"]), "losses": record["losses"],
                  "evaluations": record["evaluations"], "requantised": None, "finish_steps": values.get("train.finish.steps", 0),
                  "host_peak_bytes": record["memory"]["host_peak_bytes"], "versions": config["versions"]}
        if self.a.requantise:
            result["requantised"] = self.requantised(name, exported, seed)
            shutil.rmtree(exported)
        result["seconds"] = round(time.monotonic() - start, 1)
        half = out.with_suffix(".new")
        half.write_text(json.dumps(result))
        half.rename(out)
        say(f"{arm}, seed {seed}: {result['evaluations'][-1]['loss']:.4f} at the end, {result['seconds']} s")
        return result


def tail(losses):
    return mean(losses[-max(len(losses) // 10, 1):])


def spread(values):
    values = list(values)
    return {"mean": mean(values), "lowest": min(values), "highest": max(values), "values": values} if values else None


def final(result):
    """Validation loss at the end, of what the model is then."""
    return result["evaluations"][-1]["loss"]


def readings(result):
    """Validation loss at the end for each reading of the weights: {"hi+lo": ..., "hi": ...} or {"dense": ...}."""
    last = max(e["step"] for e in result["evaluations"])
    return {e["forward"]: e["loss"] for e in result["evaluations"] if e["step"] == last}


def curve(result):
    """[(step, loss)] of the model as it is at each step."""
    return sorted({e["step"]: e["loss"] for e in result["evaluations"]}.items())


def summary(results):
    """results: arm -> seed -> result. One row an arm."""
    fp32, qat = results.get("fp32", {}), results.get("QAT", {})
    best = {seed: min((p for p in curve(r) if p[0]), key=lambda p: p[1])[0] for seed, r in fp32.items()}
    rows = []
    for arm, runs in results.items():
        if not runs:
            continue
        known = [s for s in runs if s in fp32]

        def gaps(figure, others, seeds=None):
            return spread(figure(runs[s]) / figure(others[s]) - 1 for s in (known if seeds is None else seeds))

        def at_best(r):
            return dict(curve(r))[best[r["seed"]]]

        ends_as_one_plane = arm in FINISH["scratch"] or arm in ("QAT", "planes 1")
        rows.append({
            "arm": arm, "seeds": sorted(runs), "train_loss": spread(tail(r["losses"]) for r in runs.values()),
            "validation_at_fp32_best": spread(at_best(runs[s]) for s in known),
            "validation_at_end": spread(final(r) for r in runs.values()),
            "readings_at_end": {f: spread(readings(r)[f] for r in runs.values()) for f in readings(next(iter(runs.values())))},
            "requantised": spread(r["requantised"] for r in runs.values() if r["requantised"] is not None),
            "gap_train": gaps(lambda r: tail(r["losses"]), fp32), "gap_validation": gaps(at_best, fp32), "gap_end": gaps(final, fp32),
            "gap_end_to_qat": gaps(final, qat, [s for s in runs if s in qat]) if ends_as_one_plane else None})
    return rows


def table(rows):
    def loss(s):
        return f"{s['mean']:.4f} ({s['lowest']:.4f} to {s['highest']:.4f})" if s else ""

    def gap(s):
        return f"{100 * s['mean']:+.2f} % ({100 * s['lowest']:+.2f} to {100 * s['highest']:+.2f})" if s else ""

    lines = ["| arm | training loss | gap to fp32 | validation loss at fp32's best step | gap to fp32 | at the end | gap to fp32 | "
             "gap to QAT | quantised anew to one plane | read as hi + lo, as hi |", "|---|---|---|---|---|---|---|---|---|---|"]
    for r in rows:
        read = r["readings_at_end"]
        both = f"{read['hi+lo']['mean']:.4f}, {read['hi']['mean']:.4f}" if len(read) == 2 else ""
        again = f"{r['requantised']['mean']:.4f}" if r["requantised"] else ""
        lines.append(f"| {r['arm']} | {loss(r['train_loss'])} | {gap(r['gap_train'])} | {loss(r['validation_at_fp32_best'])} | "
                     f"{gap(r['gap_validation'])} | {loss(r['validation_at_end'])} | {gap(r['gap_end'])} | {gap(r['gap_end_to_qat'])} | "
                     f"{again} | {both} |")
    return "\n".join(lines)


def plot(study, results):
    training, validation = {}, {}
    for arm, runs in results.items():
        if not runs:
            continue
        losses = [mean(step) for step in zip(*(r["losses"] for r in runs.values()))]
        width = max(len(losses) // 25, 1)
        training[arm] = [(i + 1, mean(losses[max(0, i - width):i + 1])) for i in range(len(losses))]
        points = [dict(curve(r)) for r in runs.values()]
        both = sorted(set(points[0]).intersection(*points[1:]))
        validation[arm] = [(step, mean(p[step] for p in points)) for step in both]
    crop = 0.25 if study == "scratch" else 0.02
    return curves.svg([("training loss (running mean)", training, crop), ("validation loss", validation, crop)])


def make_runs(study, arms, seeds):
    """arm -> seed -> result, and what went wrong."""
    results, wrong = {arm: {} for arm in arms}, []

    def one(job):
        arm, seed = job
        try:
            results[arm][seed] = study.run(arm, seed)
        except OutOfTime:
            wrong.append(f"{arm}, seed {seed}: no time left; run the command again to go on")
        except Exception as e:  # the other runs go on
            wrong.append(f"{arm}, seed {seed}: {e}")
            say(wrong[-1])

    with ThreadPoolExecutor(study.a.jobs) as pool:
        list(pool.map(one, [(arm, seed) for seed in seeds for arm in arms]))
    return {arm: dict(sorted(runs.items())) for arm, runs in results.items()}, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["scratch", "finetune", "prepare"])
    parser.add_argument("--host", type=Path, default=ROOT / "build/bin/host")
    parser.add_argument("--configs", type=Path, default=ROOT / "configs")
    parser.add_argument("--text", type=Path, required=True, help="folder with valid.txt and test.txt")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=ROOT / "models/default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--epochs", type=int, default=2, choices=[1, 2, 3, 4])
    parser.add_argument("--steps", type=int, help="instead of the study's own number: for a trial")
    parser.add_argument("--within", type=float, help="seconds; runs that aren't done then are left for the next time")
    parser.add_argument("--no-requantise", dest="requantise", action="store_false", help="leave out the weights quantised anew")
    parser.add_argument("--arms", default=STANDARD, help=f"of: {', '.join(ARMS)}")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path, help="SVG file")
    a = parser.parse_args()
    a.text, a.work, a.model = a.text.resolve(), a.work.resolve(), a.model.resolve()
    arms, seeds = [arm.strip() for arm in a.arms.split(",")], [int(s) for s in a.seeds.split(",")]
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown or "fp32" not in arms:
        parser.error(f"--arms: unknown {unknown}" if unknown else "--arms needs fp32, which the others are compared with")
    if a.jobs < 1:
        parser.error("--jobs must be at least 1")
    if a.study == "prepare":
        a.study = "scratch"
        for seed in seeds:
            Study(a).model(seed)
        return 0
    study = Study(a)
    results, wrong = make_runs(study, arms, seeds)
    rows = summary(results)
    print(table(rows))
    if a.plot and rows:
        a.plot.write_text(plot(a.study, results))
    made = [r for runs in results.values() for r in runs.values()]
    if a.out and made:
        document = {"study": a.study, "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
                    "device": a.device, "versions": made[0]["versions"], "settings": study.settings, "complete": not wrong,
                    "missing": [w.splitlines()[0] for w in wrong], "summary": rows,
                    "curves": {arm: {str(s): {k: r[k] for k in ("losses", "evaluations", "requantised", "finish_steps", "seconds")}
                                     for s, r in runs.items()} for arm, runs in results.items()}}
        a.out.write_text(json.dumps(document) + "\n")
    for what in wrong:
        say(f"not made: {what.splitlines()[0]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
