#!/usr/bin/env python3
"""Writes tests/data/model/rope.json: inverse frequencies as transformers computes them, for many rope settings.

Each case holds the config.json fields as a model would carry them, and inv_freq and attention_scaling as the
model's own rotary embedding has them. Run again only when a case is added; the file is committed.
"""
import json
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, Qwen3Config
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=8192)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32768)


def old(theta, scaling=None):
    return {"rope_theta": theta, "rope_scaling": scaling}


def new(theta, **scaling):
    return {"rope_parameters": dict({"rope_type": "default"}, **scaling, rope_theta=theta)}


CASES = [
    ("llama", 64, 2048, {}),
    ("llama", 64, 8192, old(100000)),
    ("llama", 128, 4096, old(10000.0)),
    ("llama", 2, 4096, old(10000.0)),
    ("llama", 18, 4096, old(12345.678)),
    ("qwen3", 128, 40960, old(1000000)),
    ("qwen3", 128, 262144, old(5000000)),
    ("qwen3", 128, 40960, new(1000000.0)),
    ("llama", 96, 4096, old(10000.0, {"type": "linear", "factor": 2.5})),
    ("llama", 80, 4096, old(10000.0, {"rope_type": "linear", "factor": 8})),
    ("llama", 64, 4096, new(500000.0, rope_type="linear", factor=3.0)),
    ("llama", 128, 131072, old(500000.0, LLAMA3)),
    ("llama", 64, 131072, old(500000.0, dict(LLAMA3, factor=32.0))),
    ("llama", 64, 131072, new(500000.0, **LLAMA3)),
    ("llama", 48, 2048, old(10000.0, dict(LLAMA3, factor=3.3, low_freq_factor=1.5, high_freq_factor=2.25,
                                          original_max_position_embeddings=512))),
    ("qwen3", 128, 131072, old(1000000.0, YARN)),
    ("qwen3", 128, 131072, new(1000000.0, **YARN)),
    ("qwen3", 64, 131072, old(1000000.0, dict(YARN, factor=None))),
    ("qwen3", 32, 1024, old(10000.0, dict(YARN, factor=2.7, original_max_position_embeddings=300))),
    ("qwen3", 64, 65536, old(10000.0, dict(YARN, attention_factor=1.25))),
    ("qwen3", 64, 65536, old(10000.0, dict(YARN, beta_fast=16.0, beta_slow=2.0))),
    ("qwen3", 64, 65536, old(10000.0, dict(YARN, beta_fast=0, beta_slow=0))),
    ("llama", 64, 65536, old(10000.0, dict(YARN, mscale=0.707, mscale_all_dim=1.0))),
    ("llama", 64, 65536, old(10000.0, dict(YARN, mscale=0.0, mscale_all_dim=1.0))),
    ("llama", 64, 65536, old(150000.0, dict(YARN, factor=32.0, original_max_position_embeddings=4096, truncate=False))),
    ("llama", 64, 65536, old(10000.0, dict(YARN, beta_fast=4, beta_slow=4, truncate=False))),  # an empty ramp
    ("llama", 16, 64, old(10000.0, dict(YARN, original_max_position_embeddings=4))),  # bounds that cross
    ("llama", 32, 2000000, old(100.0, dict(YARN, beta_fast=20000, original_max_position_embeddings=1000000))),  # bound past the end
    ("llama", 8, 64, old(10000.0, dict(YARN, original_max_position_embeddings=16))),
]


def main():
    cases = []
    for arch, head_dim, positions, rope in CASES:
        fields = {"hidden_size": 4 * head_dim, "num_attention_heads": 4, "num_key_value_heads": 2,
                  "head_dim": head_dim, "max_position_embeddings": positions, "num_hidden_layers": 1,
                  "intermediate_size": 8, "vocab_size": 32, "rms_norm_eps": 1e-6}
        config_class, rotary = {"llama": (LlamaConfig, LlamaRotaryEmbedding),
                                "qwen3": (Qwen3Config, Qwen3RotaryEmbedding)}[arch]
        embedding = rotary(config_class(**fields, **json.loads(json.dumps(rope))))
        assert embedding.inv_freq.dtype == torch.float32
        name = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}[arch]
        cases.append({"config": {"architectures": [name], **fields, **rope},
                      "attention_scaling": embedding.attention_scaling,
                      "inv_freq": embedding.inv_freq.tolist()})
    out = Path(__file__).resolve().parent.parent / "data" / "model" / "rope.json"
    lines = ",\n".join(json.dumps(c) for c in cases)
    out.write_text("[\n" + lines + "\n]\n")
    print(f"{out}: {len(cases)} cases")


if __name__ == "__main__":
    sys.exit(main())
