#!/usr/bin/env python3
"""Measures what 4-bit training costs in loss: the same data and seeds under several optimizers.

  quality.py scratch --host build/bin/host --text DIR --work FOLDER [--seeds 0,1,2] [--arms fp32,hi+lo] [--out result.json]
  quality.py finetune --host build/bin/host --text DIR --work FOLDER --model models/default ...

scratch   a Qwen3 model of 2.4 million parameters (scratch_model.py) learns DIR/valid.txt, `--epochs` times (at most 4);
          measured on DIR/test.txt
finetune  a trained model goes on with DIR/valid.txt, 160 steps of 512 tokens at 5e-5; measured on DIR/test.txt

Each arm is a `host train` run of its own and leaves FOLDER/<study>/<arm>-<seed>.json; a run that is there already is not made
again, so that a study can be stopped and gone on with. The summary has, for each arm: the training loss over the last tenth of
the steps, and the validation loss at the step where fp32's is lowest, each as mean and range over the seeds, and the gap to
fp32 in percent, seed by seed. `--plot FILE.svg` draws the curves (needs matplotlib).
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parent))
import scratch_model  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DENSE = {"linear.plugin": "backend-bf16", "model.dtype": "float32"}
PLANES = {"linear.plugin": "backend-nvfp4", "model.dtype": "float32", "optimizer.plugin": "optim-adamw-nvfp4"}
# Activations are float32 in all of them, so that what differs is how w, grad, m and v are stored.
ARMS = {
    "fp32": {**DENSE, "optimizer.plugin": "optim-adamw"},
    "hi+lo": PLANES,
    "planes 3": {**PLANES, "optimizer.options.planes": 3},
    "planes 1": {**PLANES, "optimizer.options.planes": 1},
    "literal": {**PLANES, "optimizer.options.literal": "true"},
    "int8": {**DENSE, "model.dtype": "bfloat16", "optimizer.plugin": "optim-adamw-int8"},
    "bf16 stochastic": {**DENSE, "model.dtype": "bfloat16", "optimizer.plugin": "optim-adamw",
                        "optimizer.options.master": "none", "optimizer.options.gradient": "bf16"},
    "QAT": {"linear.plugin": "backend-nvfp4", "model.dtype": "float32", "optimizer.plugin": "optim-adamw"},
}


def say(text):
    print(text, file=sys.stderr, flush=True)


class Study:
    def __init__(self, a):
        self.a = a
        self.folder = a.work / a.study
        self.folder.mkdir(parents=True, exist_ok=True)
        self.train, self.test = a.text / "valid.txt", a.text / "test.txt"
        if a.study == "scratch":
            self.settings = {"train.rows": 8, "train.width": 256, "train.learning_rate": 2e-3, "train.weight_decay": 0.1,
                             "train.warmup_steps": 20, "train.final_share": 0.05, "train.eval_batches": 12}
        else:
            self.settings = {"train.rows": 2, "train.width": 256, "train.learning_rate": 5e-5, "train.steps": 160,
                             "train.warmup_steps": 8, "train.eval_batches": 32, "train.eval_every": 40}

    def model(self, seed):
        if self.a.study == "finetune":
            return self.a.model
        place = self.folder / f"model-{seed}"
        if not place.exists():
            say(f"{scratch_model.make(place, self.train, seed=seed):,} parameters, seed {seed}")
        return place

    def steps(self, seed):
        if self.a.steps:
            return {"train.steps": self.a.steps, "train.warmup_steps": 1, "train.eval_every": max(self.a.steps // 2, 1)}
        if "train.steps" in self.settings:
            return {}
        counted = subprocess.run([self.a.host, "tokenize", "--model", self.model(seed)], stdin=open(self.train, "rb"),
                                 capture_output=True, check=True)
        steps = len(json.loads(counted.stdout)) * self.a.epochs // (self.settings["train.rows"] * self.settings["train.width"])
        return {"train.steps": steps, "train.eval_every": max(steps // 12, 1)}

    def run(self, arm, seed):
        out = self.folder / f"{arm.replace(' ', '_')}-{seed}.json"
        if out.exists():
            return json.loads(out.read_text())
        runs = self.folder / f"runs-{arm.replace(' ', '_')}-{seed}"
        shutil.rmtree(runs, ignore_errors=True)
        values = {"model.path": self.model(seed), "model.device": self.a.device, "train.data": json.dumps([str(self.train)]),
                  "train.eval_data": self.test, "train.seed": seed, "run.dir": runs, "guard.limit_gb": "none",
                  **self.settings, **self.steps(seed), **ARMS[arm]}
        command = [str(self.a.host), "train", "--config", str(self.a.configs / "train-base.yaml")]
        for key, value in values.items():
            command += ["--set", f"{key}={value}"]
        say(f"{arm}, seed {seed} ...")
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(f"{arm}, seed {seed}: exit code {ended.returncode}\n{ended.stderr[-3000:]}")
        folder = next(runs.iterdir())
        record = json.loads((folder / "record.json").read_text())
        config = json.loads((folder / "config.json").read_text())
        result = {"arm": arm, "seed": seed, "losses": record["losses"], "evaluations": record["evaluations"],
                  "host_peak_bytes": record["memory"]["host_peak_bytes"], "steps": len(record["losses"]),
                  "versions": config["versions"]}
        out.write_text(json.dumps(result))
        return result


def tail(losses):
    return mean(losses[-max(len(losses) // 10, 1):])


def spread(values):
    return {"mean": mean(values), "lowest": min(values), "highest": max(values)}


def summary(results):
    """results: arm -> seed -> result."""
    best_step = {seed: min((e for e in r["evaluations"] if e["step"]), key=lambda e: e["loss"])["step"]
                 for seed, r in results["fp32"].items()}

    def validation(r):
        return next(e["loss"] for e in r["evaluations"] if e["step"] == best_step[r["seed"]])

    rows = []
    for arm, seeds in results.items():
        both = [seed for seed in seeds if seed in results["fp32"]]
        row = {"arm": arm, "seeds": both, "train_loss": spread([tail(seeds[s]["losses"]) for s in both]),
               "validation_loss": spread([validation(seeds[s]) for s in both])}
        for name, figure in [("train_gap", lambda r: tail(r["losses"])), ("validation_gap", validation)]:
            row[name] = spread([figure(seeds[s]) / figure(results["fp32"][s]) - 1 for s in both])
        rows.append(row)
    return rows


def table(rows):
    lines = ["| arm | training loss | validation loss | gap in training | gap in validation |", "|---|---|---|---|---|"]
    for r in rows:
        t, v, tg, vg = r["train_loss"], r["validation_loss"], r["train_gap"], r["validation_gap"]
        lines.append(f"| {r['arm']} | {t['mean']:.4f} ({t['lowest']:.4f} to {t['highest']:.4f}) | "
                     f"{v['mean']:.4f} ({v['lowest']:.4f} to {v['highest']:.4f}) | "
                     f"{100 * tg['mean']:+.2f} % ({100 * tg['lowest']:+.2f} to {100 * tg['highest']:+.2f}) | "
                     f"{100 * vg['mean']:+.2f} % ({100 * vg['lowest']:+.2f} to {100 * vg['highest']:+.2f}) |")
    return "\n".join(lines)


def plot(results, file):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "tetrad"
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for arm, seeds in results.items():
        first = seeds[min(seeds)]
        losses, width = first["losses"], max(len(first["losses"]) // 50, 1)
        smooth = [mean(losses[max(0, i - width):i + 1]) for i in range(len(losses))]
        left.plot(range(1, len(losses) + 1), smooth, label=arm, linewidth=1)
        points = [(e["step"], e["loss"]) for e in first["evaluations"]]
        right.plot(*zip(*sorted(dict(points).items())), label=arm, linewidth=1, marker=".")
    for axis, title in [(left, "training loss (running mean)"), (right, "validation loss")]:
        axis.set(title=title, xlabel="step", ylabel="nats per token")
        axis.grid(alpha=0.3)
    left.legend(fontsize=8)
    figure.savefig(file, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["scratch", "finetune"])
    parser.add_argument("--host", type=Path, default=ROOT / "build/bin/host")
    parser.add_argument("--configs", type=Path, default=ROOT / "configs")
    parser.add_argument("--text", type=Path, required=True, help="folder with valid.txt and test.txt")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=ROOT / "models/default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, default=2, choices=[1, 2, 3, 4])
    parser.add_argument("--steps", type=int, help="instead of the study's own number: for a trial")
    parser.add_argument("--arms", default="fp32,hi+lo,planes 3", help=f"of: {', '.join(ARMS)}")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    a = parser.parse_args()
    arms = [arm.strip() for arm in a.arms.split(",")]
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown or "fp32" not in arms:
        parser.error(f"--arms: unknown {unknown}" if unknown else "--arms needs fp32, which the others are compared with")
    study = Study(a)
    results = {arm: {} for arm in arms}
    for seed in map(int, a.seeds.split(",")):
        for arm in arms:
            results[arm][seed] = study.run(arm, seed)
    rows = summary(results)
    print(table(rows))
    if a.plot:
        plot(results, a.plot)
    if a.out:
        versions = next(iter(results["fp32"].values()))["versions"]
        document = {"study": a.study, "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
                    "device": a.device, "versions": versions, "settings": study.settings, "summary": rows,
                    "curves": {arm: {str(s): {"losses": r["losses"], "evaluations": r["evaluations"]}
                                     for s, r in seeds.items()} for arm, seeds in results.items()}}
        a.out.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
