#!/usr/bin/env python3
"""Writes a small untrained Qwen3 model with a tokenizer of its own, for training from scratch.

  scratch_model.py OUT --text valid.txt [--vocab 4096 --hidden 192 --layers 4 --seed 0]

The tokenizer is a byte-level BPE trained on `text`. Weights are drawn as is usual for these models: normal with a deviation
of 0.02, those that write into the residual stream divided by sqrt(2 * layers), norms at 1; embedding and head are tied.
"""
import argparse
import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def write_tokenizer(out, text, vocab):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train([str(text)], trainers.BpeTrainer(vocab_size=vocab, special_tokens=SPECIAL, show_progress=False,
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {"bos_token": None, "eos_token": SPECIAL[2], "pad_token": SPECIAL[0], "chat_template": TEMPLATE,
                "clean_up_tokenization_spaces": False, "tokenizer_class": "PreTrainedTokenizerFast"}
    (out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def write_model(out, vocab, hidden, layers, seed, head_dim=32, positions=512):
    heads, ff = hidden // head_dim, -(-hidden * 8 // 3 // 64) * 64
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "attention_bias": False, "bos_token_id": 0,
              "eos_token_id": 2, "head_dim": head_dim, "hidden_act": "silu", "hidden_size": hidden,
              "intermediate_size": ff, "max_position_embeddings": positions, "num_attention_heads": heads,
              "num_hidden_layers": layers, "num_key_value_heads": heads // 2, "rms_norm_eps": 1e-6,
              "rope_theta": 10000.0, "rope_scaling": None, "tie_word_embeddings": True, "torch_dtype": "float32",
              "use_sliding_window": False, "vocab_size": vocab}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / "generation_config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 2}) + "\n")

    draw = torch.Generator().manual_seed(seed)
    deep = 0.02 / math.sqrt(2 * layers)

    def normal(*shape, std=0.02):
        return torch.randn(shape, generator=draw) * std

    tensors = {"model.embed_tokens.weight": normal(vocab, hidden), "model.norm.weight": torch.ones(hidden)}
    for i in range(layers):
        at = f"model.layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{at}{norm}.weight"] = torch.ones(hidden)
        for norm in ("q_norm", "k_norm"):
            tensors[f"{at}self_attn.{norm}.weight"] = torch.ones(head_dim)
        tensors[f"{at}self_attn.q_proj.weight"] = normal(hidden, hidden)
        tensors[f"{at}self_attn.k_proj.weight"] = normal(hidden // 2, hidden)
        tensors[f"{at}self_attn.v_proj.weight"] = normal(hidden // 2, hidden)
        tensors[f"{at}self_attn.o_proj.weight"] = normal(hidden, hidden, std=deep)
        tensors[f"{at}mlp.gate_proj.weight"] = normal(ff, hidden)
        tensors[f"{at}mlp.up_proj.weight"] = normal(ff, hidden)
        tensors[f"{at}mlp.down_proj.weight"] = normal(hidden, ff, std=deep)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return sum(t.numel() for t in tensors.values())


def make(out, text, vocab=4096, hidden=192, layers=4, seed=0):
    """Writes the model to the folder `out`, which must be new; the number of its parameters."""
    out = Path(out)
    out.mkdir(parents=True)
    write_tokenizer(out, text, vocab)
    return write_model(out, vocab, hidden, layers, seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    for name, value in [("vocab", 4096), ("hidden", 192), ("layers", 4), ("seed", 0)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    a = parser.parse_args()
    print(f"{make(a.out, a.text, a.vocab, a.hidden, a.layers, a.seed):,} parameters")
