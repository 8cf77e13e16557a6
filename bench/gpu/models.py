#!/usr/bin/env python3
"""Whole models on a GPU: `host bench` on both paths beside transformers (decode_peer.py) in the same run, with ratios and peaks of
live bytes. One JSON document.

  python3 bench/gpu/models.py --model QWEN3_4B [--host build/bin/host] [--python PYTHON] [--out FILE] [--without-peer]

Decode is measured behind `--depth` tokens and behind `--long`; prefill with 512 and 4,096 tokens. `scripts/make_random_qwen3.py`
writes a model; what the weights hold does not matter to the times."""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARMS = {  # name: (config, settings)
    "bridge": ("bridge.yaml", {}),
    "training, eval cache": ("fp2-model.yaml", {"linear.options.eval_cache": "true"}),
    "training, no eval cache": ("fp2-model.yaml", {"linear.options.eval_cache": "false"}),
}


def brief(result):
    rows = [f"depth {r['depth']}: prefill of {r['prefill']['tokens']} {r['prefill']['tok_s']:.0f}, decode {r['decode']['tok_s']:.1f} tok/s"
            for r in result["rows"]]
    return "; ".join(rows) + f"; peak {result['memory']['device_peak_bytes'] / 1e9:.2f} GB"


def bench(a, name):
    config, settings = ARMS[name]
    measured = {}
    # Two shapes: a long prompt at depth 0; short ones, and decode, behind each depth.
    for part, more in {"long prompt": {"bench.depths": "[0]", "bench.prefill": 4096, "bench.decode": 1},
                       "depths": {"bench.depths": f"[{a.depth}, {a.long}]", "bench.prefill": 512, "bench.decode": a.decode}}.items():
        with tempfile.TemporaryDirectory() as runs:
            values = {"model.path": a.model, "model.device": a.device, "model.max_context": a.long + 512 + a.decode + 8,
                      "model.prefill_chunk": 4096, "bench.repeats": a.repeats, "run.dir": runs, **settings, **more}
            command = [str(a.host), "bench", "--config", str(ROOT / "configs" / config), "--json"]
            for key, value in values.items():
                command += ["--set", f"{key}={value}"]
            ended = subprocess.run(command, capture_output=True, text=True)
            if ended.returncode:
                raise SystemExit(f"{name}: exit code {ended.returncode}\n{ended.stderr[-3000:]}")
            measured[part] = json.loads(ended.stdout)
        print(name, part, brief(measured[part]), file=sys.stderr, flush=True)
    return measured


def decode_rate(result, depth):
    return next(d["decode"]["tok_s"] for d in result["depths"]["rows"] if d["depth"] == depth)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--host", default=ROOT / "build" / "bin" / "host", type=Path)
    parser.add_argument("--python", default=sys.executable, help="that has torch and transformers")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--long", type=int, default=7680)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without-peer", action="store_true")
    parser.add_argument("--out", type=Path)
    a = parser.parse_args()

    results = {name: bench(a, name) for name in ARMS}
    ratios = {}
    if not a.without_peer:
        said = subprocess.run([a.python, str(ROOT / "bench/gpu/decode_peer.py"), "--model", a.model, "--depth", str(a.depth),
                               "--decode", str(a.decode)], stdout=subprocess.PIPE, text=True)
        if said.returncode:
            raise SystemExit("decode_peer.py failed; --without-peer leaves it out")
        peer = results["transformers"] = json.loads(said.stdout)
        compiled = peer["decode"]["static cache, compiled"]["tokens_per_second"]
        prefill = next(p["tokens_per_second"] for p in peer["prefill"] if p["tokens"] == 4096)
        for name in ARMS:
            long_prompt = results[name]["long prompt"]["rows"][0]["prefill"]["tok_s"]
            ratios[name] = {"decode to compiled": decode_rate(results[name], a.depth) / compiled,
                            "prefill of 4096 to transformers": long_prompt / prefill}
    document = json.dumps({"command": " ".join(sys.argv), "ratios": ratios, "results": results}, indent=1)
    if a.out:
        a.out.write_text(document + "\n")
    print(json.dumps(ratios, indent=1) if a.out else document)


if __name__ == "__main__":
    main()
