#!/usr/bin/env python3
"""Times full-parameter training steps on a GPU with `host train`: tokens per second, the time of each phase of a step and
the peak of live bytes, for each way of checkpointing and of keeping gradients. One JSON document on stdout.

  python3 bench/gpu/train_step.py --model QWEN3_4B [--checkpointing block,selective,none] [--gradients two_phase,immediate]
                                  [--steps 10] [--rows 4] [--width 2048] [--attention flash,cudnn] [--set train.head_budget_mib=3000]

Each combination is a `host train` run of its own over windows of a random text; the first three steps and the last one (which
also measures what trained) do not count, of the others the median is taken. `scripts/make_random_qwen3.py` writes a model.
Phases: forward until the loss is known; backward until all gradients are stored and their norm is known; optimizer until the
device is idle. Immediate gradients are applied within backward.
`--attention` is what TETRAD_TRAIN_ATTENTION is set to (docs/gpu.md); default: not set. `--peer FILE`: output of train_peer.py of
the same machine, for ratios."""
import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WARM_UP = 3
PHASES = ("forward", "backward", "optimizer")


def write_text(file, tokens):
    """Random words, each of one token at least."""
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    with open(file, "w", encoding="utf-8") as out:
        for i in range(tokens):
            out.write("".join(draw.choices(letters, k=draw.randint(2, 7))) + ("\n" if i % 12 == 11 else " "))


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics" / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "train/seconds" in line]


def figures(steps):
    counted = steps[WARM_UP:-1]
    row = {"steps": len(steps), "counted": len(counted),
           "tokens_per_second": statistics.median(s["train/tokens_per_second"] for s in counted),
           "seconds": [round(s["train/seconds"], 4) for s in steps],
           "ms": 1e3 * statistics.median(s["train/seconds"] for s in counted)}
    for phase in PHASES:
        key = f"train/{phase}_seconds"
        if key in counted[0]:
            row[f"{phase}_ms"] = 1e3 * statistics.median(s[key] for s in counted)
    return row


def run(a, text, work, checkpointing, gradients, attention):
    runs = work / f"{checkpointing}-{gradients}-{attention}"
    values = {"model.path": a.model, "model.device": a.device, "optimizer.plugin": a.optimizer,
              "train.data": json.dumps([str(text)]), "train.rows": a.rows, "train.width": a.width, "train.steps": a.steps,
              "train.schedule": "constant", "train.warmup_steps": 0, "train.learning_rate": 1e-5,
              "train.checkpointing": checkpointing, "train.gradients": gradients,
              "train.clip": "previous_norm" if gradients == "immediate" else "global_norm",
              "run.dir": runs, "guard.limit_gb": "none"}
    command = [str(a.host), "train", "--config", str(a.configs / "train-base.yaml")]
    for key, value in values.items():
        command += ["--set", f"{key}={value}"]
    for setting in a.set:
        command += ["--set", setting]
    environment = dict(os.environ)
    if attention:
        environment["TETRAD_TRAIN_ATTENTION"] = attention
    row = {"checkpointing": checkpointing, "gradients": gradients, "attention": attention or "default", "set": a.set}
    print(f"{checkpointing}, {gradients}, attention {row['attention']} ...", file=sys.stderr, flush=True)
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ended.returncode:
        row.update(exit_code=ended.returncode, error=ended.stderr[-1500:])
        print(ended.stderr[-1500:], file=sys.stderr, flush=True)
        return row
    folder = next(runs.iterdir())
    record = json.loads((folder / "record.json").read_text())
    row.update(figures(metrics(folder)))
    phases = record["memory_phases"]
    row["loaded_live_bytes"] = max(p["device_live_bytes"] for p in phases if p["phase"] == "model_loaded")
    row["peak_live_bytes"] = max(p["device_live_peak_bytes"] for p in phases)
    row["reserved_bytes"] = max(p["device_reserved_bytes"] for p in phases)
    row["device_used_bytes"] = max(p["device_used_bytes"] for p in phases)
    row["live_bytes_after"] = {f"step {p['step']} {p['phase']}": p["device_live_bytes"] for p in phases if p["step"] <= 2}
    forecast = re.search(r"^\[forecast\] needs about ([^;]+);", ended.stderr, re.MULTILINE)
    row["forecast_peak"] = forecast and forecast.group(1)
    row["losses"] = record["losses"]
    print(f"  {row['tokens_per_second']:.0f} tok/s, peak {row['peak_live_bytes'] / 1e9:.2f} GB", file=sys.stderr, flush=True)
    return row


def listed(text):
    return [part.strip() for part in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", type=Path, default=ROOT / "build/bin/host")
    parser.add_argument("--configs", type=Path, default=ROOT / "configs")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--optimizer", default="optim-adamw-nvfp4")
    parser.add_argument("--checkpointing", type=listed, default=["block", "selective", "none"])
    parser.add_argument("--gradients", type=listed, default=["two_phase", "immediate"])
    parser.add_argument("--attention", type=listed, default=[""], help="flash, cudnn; default: as it comes")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--set", action="append", default=[], help="further settings for every run, as `host train --set`")
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--keep", type=Path, help="folder for the runs' own folders; default: thrown away")
    a = parser.parse_args()
    if a.steps < WARM_UP + 2:
        parser.error(f"--steps: {WARM_UP + 2} at least")
    work = Path(tempfile.mkdtemp(prefix="train-step-"))
    try:
        text = work / "text.txt"
        write_text(text, (a.steps + 2) * a.rows * a.width)
        rows = [run(a, text, work, c, g, attention) for c in a.checkpointing for g in a.gradients for attention in a.attention]
        if a.keep:
            shutil.copytree(work, a.keep, dirs_exist_ok=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    document = {"model": str(a.model), "rows": a.rows, "width": a.width, "optimizer": a.optimizer, "runs": rows}
    if a.peer:
        document["peer"] = json.loads(a.peer.read_text())
        for row in rows:
            row["ratio"] = {p["what"]: row["tokens_per_second"] / p["tokens_per_second"]
                            for p in document["peer"]["rows"] if "tokens_per_second" in p and "tokens_per_second" in row}
    print(json.dumps(document, indent=1))
    return any("error" in row for row in rows)


if __name__ == "__main__":
    sys.exit(main())
