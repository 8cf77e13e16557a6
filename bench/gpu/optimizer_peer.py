"""The peer of tetrad_gpu_bench's optimizer rows: torch's fused AdamW in fp32, and torchao's 8-bit and 4-bit
AdamW where torchao is installed, over the matrices of a Qwen3-4B-shaped model. One JSON document on stdout.

    build/bin/tetrad_gpu_bench optimizer > ours.json
    .venv/bin/python bench/gpu/optimizer_peer.py --ours ours.json

The fp32 state of 4 billion parameters takes 64 GB; --share 0.25 takes a quarter of the blocks and scales the
time."""
import argparse
import json
import statistics

import torch


def shapes(share):
    block = [(4096, 2560), (1024, 2560), (1024, 2560), (2560, 4096), (9728, 2560), (9728, 2560), (2560, 9728)]
    return [(int(151936 * share), 2560)] + block * max(1, round(36 * share))


def measure(make, parameters, samples):
    optimizer = make(parameters)
    times = []
    for i in range(samples + 3):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        optimizer.step()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(begin.elapsed_time(end))
    return statistics.median(times)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--share", type=float, default=0.25, help="part of the model that is measured")
    arguments.add_argument("--samples", type=int, default=9)
    arguments.add_argument("--ours", help="output of `tetrad_gpu_bench optimizer` of the same machine, for ratios")
    options = arguments.parse_args()
    total = sum(a * b for a, b in shapes(1.0))
    rows = []

    def run(what, dtype, make):
        parameters = [torch.nn.Parameter(torch.randn(s, device="cuda", dtype=dtype) * 0.02) for s in shapes(options.share)]
        n = sum(p.numel() for p in parameters)
        for p in parameters:
            p.grad = torch.randn_like(p)
        ms = measure(make, parameters, options.samples) * total / n
        rows.append({"what": what, "measured_parameters": n, "parameters": total, "ms": ms})

    run("torch AdamW, fused, fp32", torch.float32, lambda p: torch.optim.AdamW(p, lr=1e-5, fused=True))
    try:
        from torchao.optim import AdamW4bit, AdamW8bit

        run("torchao AdamW8bit, bf16 weights", torch.bfloat16, lambda p: AdamW8bit(p, lr=1e-5))
        run("torchao AdamW4bit, bf16 weights", torch.bfloat16, lambda p: AdamW4bit(p, lr=1e-5))
    except ImportError:
        rows.append({"what": "torchao is not installed"})
    result = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "share": options.share, "rows": rows}
    if options.ours:
        with open(options.ours, encoding="utf-8") as file:
            ours = json.load(file)["optimizer"]
        result["ratio_to_torch_fused"] = {row["what"]: row["ms"] / rows[0]["ms"] for row in ours}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
