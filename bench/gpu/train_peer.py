#!/usr/bin/env python3
"""The peer of train_step.py: full-parameter training steps of transformers in bf16 (weights, gradients and fused AdamW's m and
v), on the shape of a model folder with random weights. Eager and with each layer compiled, with and without gradient
checkpointing. One JSON document on stdout; each row is also printed to stderr as it is there.

  python3 bench/gpu/train_peer.py --model QWEN3_4B [--rows 4] [--width 2048] [--steps 5] [--only eager,compiled,eager-none,compiled-none]

Needs torch and transformers; of the model folder config.json alone is read. Checkpointed rows take about 41 GB at 4 x 2048,
those without 72 GB. Peak: torch.cuda.max_memory_allocated, which is what train_step.py's peak_live_bytes is."""
import argparse
import gc
import json
import statistics
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM

ROWS = {  # name: (compiled, checkpointing)
    "eager": (False, True),
    "compiled": (True, True),
    "eager-none": (False, False),
    "compiled-none": (True, False),
}


def build(folder):
    config = AutoConfig.from_pretrained(folder)
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    return model.train()


def measure(model, optimizer, rows, width, steps):
    ids = torch.randint(0, min(model.config.vocab_size, 150000), (rows, width), device="cuda")
    times, phases = [], []
    torch.cuda.reset_peak_memory_stats()
    for i in range(steps + 3):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
        marks[0].record()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        marks[1].record()
        loss.backward()
        marks[2].record()
        optimizer.step()
        optimizer.zero_grad()
        marks[3].record()
        marks[3].synchronize()
        if i >= 3:
            times.append(marks[0].elapsed_time(marks[3]))
            phases.append([marks[k].elapsed_time(marks[k + 1]) for k in range(3)])
    ms = statistics.median(times)
    return {"tokens_per_second": rows * width / ms * 1e3, "ms": ms,
            **{name: statistics.median(p[k] for p in phases)
               for k, name in enumerate(("forward_ms", "backward_ms", "optimizer_ms"))},
            "peak_live_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved(),
            "loss": loss.item()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--only", default=",".join(ROWS))
    a = parser.parse_args()
    result = []
    for name in [n.strip() for n in a.only.split(",")]:
        compiled, checkpointing = ROWS[name]
        row = {"what": name, "compiled": compiled, "checkpointing": checkpointing}
        model = optimizer = None
        try:
            torch._dynamo.reset()
            model = build(a.model)
            if checkpointing:
                model.gradient_checkpointing_enable()
            if compiled:
                for layer in model.model.layers:
                    layer.compile()
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
            row.update(measure(model, optimizer, a.rows, a.width, a.steps))
        except Exception as error:  # out of memory, or a compiler that is not there: the other rows still count
            row["error"] = f"{type(error).__name__}: {error}"[:500]
        print(json.dumps(row), file=sys.stderr, flush=True)
        result.append(row)
        del model, optimizer
        gc.collect()
        torch.cuda.empty_cache()
    import transformers

    print(json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                      "transformers": transformers.__version__, "rows_columns": [a.rows, a.width], "rows": result}, indent=1))


if __name__ == "__main__":
    main()
