#!/usr/bin/env python3
"""The peer of models.py: transformers in bf16 on the shape of a model folder, random weights, batch 1. Prefill, decode as
`generate` does it, and decode with a static cache and compiled (`cache_implementation="static"`). One JSON document on stdout.

  python3 bench/gpu/decode_peer.py --model QWEN3_4B [--depth 512] [--decode 128] [--prefill 512,4096] [--eager-decode 32]

Needs torch and transformers; of the model folder config.json alone is read. The compiler takes a minute or two at the first time
and keeps what it made (TORCHINDUCTOR_CACHE_DIR). Times are wall clock between synchronised ends, medians of `--repeats`; decode is
the difference between a long and a short run of `generate`, divided by the tokens between them."""
import argparse
import json
import statistics
import sys
import time

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--eager-decode", type=int, default=32)
    parser.add_argument("--prefill", type=lambda t: [int(x) for x in t.split(",")], default=[512, 4096])
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()

    config = AutoConfig.from_pretrained(a.model)
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    ids = torch.randint(0, min(config.vocab_size, 150000), (1, a.depth), device="cuda")
    result = {"transformers": transformers.__version__, "torch": torch.__version__, "device": torch.cuda.get_device_name(),
              "weights_bytes": torch.cuda.memory_allocated(), "prefill": [], "decode": {}}

    def timed(work):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - start

    def generate(tokens, **more):
        model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False,
                       pad_token_id=0, eos_token_id=None, **more)

    def decode(name, tokens, warm_up, **more):
        for _ in range(warm_up):
            generate(8, **more)
        rates = []
        for _ in range(a.repeats):
            short, long = timed(lambda: generate(8, **more)), timed(lambda: generate(8 + tokens, **more))
            rates.append(tokens / (long - short))
        result["decode"][name] = {"tokens_per_second": statistics.median(rates), "all": rates}
        print(name, result["decode"][name], file=sys.stderr, flush=True)

    with torch.inference_mode():
        for length in a.prefill:
            prompt = torch.randint(0, 150000, (1, length), device="cuda")
            for _ in range(2):
                model(prompt, use_cache=True, logits_to_keep=1)
            seconds = [timed(lambda: model(prompt, use_cache=True, logits_to_keep=1)) for _ in range(a.repeats + 2)]
            result["prefill"].append({"tokens": length, "tokens_per_second": length / statistics.median(seconds)})
            print(result["prefill"][-1], file=sys.stderr, flush=True)
        decode("eager", a.eager_decode, 1)
        result["peak_live_bytes_eager"] = torch.cuda.max_memory_allocated()
        decode("static cache, compiled", a.decode, 3, cache_implementation="static")
    result["peak_live_bytes"] = torch.cuda.max_memory_allocated()
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
