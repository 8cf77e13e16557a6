#!/usr/bin/env python3
"""Writes a random small Qwen3 or Llama model as a Hugging Face directory, for tests.

The directory holds config.json, generation_config.json and model.safetensors (or shards with an index), and
loads both with transformers and with Tetrad. The same arguments give the same bytes: every tensor draws from
its own generator, keyed by the seed and the tensor's name, so sharding or tying changes no other tensor.
Weights are scaled so that attention is not flat and logits have about unit variance; norms lie around 1 but are
not 1, so that a forgotten norm weight shows.

  make_random_model.py OUT --preset qwen3-gqa4 --seed 3
  make_random_model.py OUT --arch llama --heads 6 --kv-heads 3 --head-dim 20 --rope llama3 --dtype float32
  make_random_model.py OUT --arch qwen3 --tokenizer DIR      # vocab_size and special ids from a tokenizer directory
  make_random_model.py --list

From Python: make_model(out, preset="llama-mha", seed=1, dtype="float32").
"""
import argparse
import json
import shutil
import sys
import zlib
from pathlib import Path

DEFAULTS = dict(arch="qwen3", hidden=64, layers=2, heads=4, kv_heads=2, head_dim=None, intermediate=96, vocab=259,
                tied=False, rope="default", rope_style="old", rope_theta=10000.0, dtype="bfloat16", shards=1,
                max_positions=512, eps=1e-6, eos=(2,), bos=1, gain=1.0)

# Many shapes on purpose: every GQA ratio, head_dim other than hidden/heads, odd vocabularies and widths that are no
# multiple of 16, each rope variant in each style, each dtype, tied and untied, one layer to several.
PRESETS = {
    "qwen3-small": dict(arch="qwen3", head_dim=32),
    "qwen3-tied": dict(arch="qwen3", head_dim=32, tied=True, rope_theta=5e6),
    "qwen3-gqa4": dict(arch="qwen3", hidden=96, heads=8, kv_heads=2, head_dim=16, layers=3, intermediate=160),
    "qwen3-mqa": dict(arch="qwen3", hidden=48, heads=6, kv_heads=1, head_dim=24, layers=2, rope_theta=1e6),
    "qwen3-mha-wide": dict(arch="qwen3", hidden=32, heads=3, kv_heads=3, head_dim=64, layers=1, vocab=101),
    "qwen3-yarn": dict(arch="qwen3", head_dim=32, rope="yarn", rope_theta=1e6, max_positions=256),
    "qwen3-yarn-new": dict(arch="qwen3", head_dim=32, rope="yarn", rope_style="new", rope_theta=1e6, dtype="float32"),
    "qwen3-sharded": dict(arch="qwen3", head_dim=32, shards=4, layers=3, dtype="float16"),
    "qwen3-odd": dict(arch="qwen3", hidden=40, heads=5, kv_heads=5, head_dim=18, intermediate=56, vocab=97, layers=2),
    "llama-mha": dict(arch="llama", heads=4, kv_heads=4, eps=1e-5),
    "llama-gqa": dict(arch="llama", hidden=96, heads=6, kv_heads=2, layers=3, tied=True, eps=1e-5),
    "llama-headdim": dict(arch="llama", hidden=72, heads=4, kv_heads=2, head_dim=20, eps=1e-5, dtype="float32"),
    "llama-llama3": dict(arch="llama", rope="llama3", rope_theta=500000.0, max_positions=1024, eps=1e-5),
    "llama-llama3-new": dict(arch="llama", rope="llama3", rope_style="new", rope_theta=500000.0, eps=1e-5),
    "llama-linear": dict(arch="llama", rope="linear", eps=1e-5, dtype="float16"),
    "llama-linear-new": dict(arch="llama", rope="linear", rope_style="new", tied=True, shards=2, eps=1e-5),
}

ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}


def rope_fields(p):
    """The rope part of config.json, in the style of transformers 4 ('old') or 5 ('new')."""
    scaling = {
        "default": None,
        "linear": dict(rope_type="linear", factor=2.5),
        "llama3": dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                       original_max_position_embeddings=p["max_positions"] // 4),
        "yarn": dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=p["max_positions"] // 4),
    }[p["rope"]]
    if p["rope_style"] == "new":
        return {"rope_parameters": dict(scaling or {"rope_type": "default"}, rope_theta=p["rope_theta"])}
    return {"rope_theta": p["rope_theta"], "rope_scaling": scaling}


def make_config(p):
    config = {
        "architectures": [ARCHITECTURES[p["arch"]]],
        "model_type": p["arch"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": p["bos"],
        "eos_token_id": p["eos"][0],
        "hidden_act": "silu",
        "hidden_size": p["hidden"],
        "initializer_range": 0.02,
        "intermediate_size": p["intermediate"],
        "max_position_embeddings": p["max_positions"],
        "num_attention_heads": p["heads"],
        "num_hidden_layers": p["layers"],
        "num_key_value_heads": p["kv_heads"],
        "rms_norm_eps": p["eps"],
        "tie_word_embeddings": p["tied"],
        "use_cache": True,
        "vocab_size": p["vocab"],
        **rope_fields(p),
    }
    if p["head_dim"] is not None:
        config["head_dim"] = p["head_dim"]
    if p["arch"] == "qwen3":
        config.update(use_sliding_window=False, sliding_window=None, max_window_layers=p["layers"])
    else:
        config.update(mlp_bias=False, pretraining_tp=1)
    config["dtype" if p["rope_style"] == "new" else "torch_dtype"] = p["dtype"]
    return config


def tensor_shapes(p):
    """Every tensor's name and shape, in the order of the model."""
    head_dim = p["head_dim"] or p["hidden"] // p["heads"]
    h, q, kv, ff = p["hidden"], p["heads"] * head_dim, p["kv_heads"] * head_dim, p["intermediate"]
    shapes = {"model.embed_tokens.weight": (p["vocab"], h)}
    for i in range(p["layers"]):
        at, mlp = f"model.layers.{i}.self_attn.", f"model.layers.{i}.mlp."
        shapes[f"model.layers.{i}.input_layernorm.weight"] = (h,)
        shapes[at + "q_proj.weight"] = (q, h)
        shapes[at + "k_proj.weight"] = (kv, h)
        shapes[at + "v_proj.weight"] = (kv, h)
        shapes[at + "o_proj.weight"] = (h, q)
        if p["arch"] == "qwen3":
            shapes[at + "q_norm.weight"] = (head_dim,)
            shapes[at + "k_norm.weight"] = (head_dim,)
        shapes[f"model.layers.{i}.post_attention_layernorm.weight"] = (h,)
        shapes[mlp + "gate_proj.weight"] = (ff, h)
        shapes[mlp + "up_proj.weight"] = (ff, h)
        shapes[mlp + "down_proj.weight"] = (h, ff)
    shapes["model.norm.weight"] = (h,)
    if not p["tied"]:
        shapes["lm_head.weight"] = (p["vocab"], h)
    return shapes


def make_tensor(name, shape, p, seed):
    import numpy as np
    import torch

    draw = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:
        value = 1.0 + 0.25 * draw
    elif name == "model.embed_tokens.weight" and not p["tied"]:
        value = draw
    else:  # linears and heads: outputs of about unit variance; q and k larger, so that attention is not flat
        gain = 2.0 if ".q_proj." in name or ".k_proj." in name else 1.0
        value = draw * (gain * p["gain"] / shape[1] ** 0.5)
    return torch.from_numpy(value).to(getattr(torch, p["dtype"]))


def write_weights(out, p, seed):
    from safetensors.torch import save_file

    tensors = {name: make_tensor(name, shape, p, seed) for name, shape in tensor_shapes(p).items()}
    if p["shards"] == 1:
        save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(tensors)
    per_shard = -(-len(names) // p["shards"])
    weight_map = {}
    for i in range(p["shards"]):
        part = names[i * per_shard:(i + 1) * per_shard]
        file = f"model-{i + 1:05d}-of-{p['shards']:05d}.safetensors"
        save_file({n: tensors[n] for n in part}, out / file, metadata={"format": "pt"})
        weight_map.update({n: file for n in part})
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def copy_tokenizer(out, source, p):
    """Copies the tokenizer's files and takes vocab_size (next multiple of 64), bos and eos from it."""
    source = Path(source)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
                 "generation_config.json", "vocab.json", "merges.txt", "added_tokens.json"):
        if (source / name).exists():
            shutil.copyfile(source / name, out / name)
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    ids = dict(tokenizer["model"]["vocab"])
    ids.update({t["content"]: t["id"] for t in tokenizer.get("added_tokens", [])})
    p["vocab"] = -(-(max(ids.values()) + 1) // 64) * 64
    tokenizer_config = out / "tokenizer_config.json"
    if tokenizer_config.exists():
        settings = json.loads(tokenizer_config.read_text())
        for field in ("bos", "eos"):
            token = settings.get(f"{field}_token")
            token = token.get("content") if isinstance(token, dict) else token
            if token in ids:
                p[field] = [ids[token]] if field == "eos" else ids[token]


def make_model(out, preset=None, seed=0, tokenizer=None, **changes):
    """Writes the model to the folder `out` (made if missing) and returns its config as a dict."""
    p = dict(DEFAULTS, **(PRESETS[preset] if preset else {}))
    unknown = set(changes) - set(DEFAULTS)
    if unknown:
        raise TypeError(f"unknown arguments: {sorted(unknown)}")
    p.update(changes)
    if p["heads"] % p["kv_heads"]:
        raise ValueError(f"heads={p['heads']} is no multiple of kv_heads={p['kv_heads']}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if tokenizer:
        copy_tokenizer(out, tokenizer, p)
    config = make_config(p)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if not (out / "generation_config.json").exists():
        eos = list(p["eos"])
        generation = {"bos_token_id": p["bos"], "eos_token_id": eos[0] if len(eos) == 1 else eos, "do_sample": False}
        (out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    write_weights(out, p, seed)
    return config


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", nargs="?", help="folder to write")
    parser.add_argument("--preset", choices=sorted(PRESETS))
    parser.add_argument("--list", action="store_true", help="print the presets as JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokenizer", help="folder with tokenizer.json to copy")
    parser.add_argument("--arch", choices=sorted(ARCHITECTURES))
    for name in ("hidden", "layers", "heads", "kv-heads", "head-dim", "intermediate", "vocab", "shards",
                 "max-positions", "bos"):
        parser.add_argument("--" + name, type=int)
    for name in ("rope-theta", "eps", "gain"):
        parser.add_argument("--" + name, type=float)
    parser.add_argument("--eos", type=lambda s: [int(x) for x in s.split(",")], help="one id or several: 2,5")
    parser.add_argument("--tied", action=argparse.BooleanOptionalAction)
    parser.add_argument("--rope", choices=("default", "linear", "llama3", "yarn"))
    parser.add_argument("--rope-style", choices=("old", "new"), help="config.json as transformers 4 or 5 write it")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"))
    args = vars(parser.parse_args())
    if args.pop("list"):
        print(json.dumps({name: dict(DEFAULTS, **p) for name, p in PRESETS.items()}, indent=2))
        return 0
    out, preset, seed, tokenizer = (args.pop(k) for k in ("out", "preset", "seed", "tokenizer"))
    if not out:
        parser.error("a folder to write is needed")
    make_model(out, preset, seed, tokenizer, **{k: v for k, v in args.items() if v is not None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
