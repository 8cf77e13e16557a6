#!/usr/bin/env python3
"""Writes the logits that transformers computes, so that `host parity` can compare Tetrad with them:

  .venv/bin/python scripts/write_transformers_logits.py --model models/default --out runs/transformers.safetensors
  build/bin/host parity --config configs/parity/vs-transformers.yaml

Without --ids it plays a conversation: each --prompt is a turn, answered greedily by transformers. The file holds what every
engine can write, input_ids int64 [T] and logits float32 [T, V] (row i predicts token i + 1), and as metadata where the turns
begin and end ("segments", as in a parity result's script.json), the tokenizer's checksum and who wrote it.
"""
import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
DEFAULT_PROMPTS = ["Write one short sentence about UFO and you.", "continue."]
MARK = "ANSWER-STANDS-HERE"


def segments_of(parts):
    segments, begin = [], 0
    for kind, turn, ids in parts:
        segments.append({"kind": kind, "turn": turn, "begin": begin, "end": begin + len(ids)})
        begin += len(ids)
    return segments


def greedy(model, ids, count, stop):
    """Ids that follow `ids`, without the stop id."""
    import torch
    with torch.no_grad():
        out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                             max_new_tokens=count, do_sample=False, eos_token_id=sorted(stop) or None, pad_token_id=0,
                             temperature=None, top_p=None, top_k=None)
    answer = out[0, len(ids):].tolist()
    return answer[:-1] if answer and answer[-1] in stop else answer


def stop_ids(model):
    stop = model.generation_config.eos_token_id
    return set() if stop is None else {stop} if isinstance(stop, int) else set(stop)


def converse(model, tokenizer, prompts, max_tokens, system):
    """[(kind, turn, ids)] of a greedy conversation. What stands between two answers is taken from the chat template's text,
    so that an answer's own ids are never tokenised again."""
    def render(messages, more):
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=more)

    messages = [{"role": "system", "content": system}] if system else []
    parts, context, rendered = [], [], ""
    for turn, prompt in enumerate(prompts, 1):
        messages.append({"role": "user", "content": prompt})
        text = render(messages, True)
        if not text.startswith(rendered):
            sys.exit("error: this chat template rewrites earlier turns; give one --prompt")
        ids = tokenizer.encode(text[len(rendered):], add_special_tokens=False)
        parts.append(("prompt", turn, ids))
        context += ids
        answer = greedy(model, context, max_tokens, stop_ids(model))
        parts.append(("answer", turn, answer))
        context += answer
        messages.append({"role": "assistant", "content": MARK})
        rendered = render(messages, False)
        close = tokenizer.encode(rendered[rendered.rindex(MARK) + len(MARK):], add_special_tokens=False)
        parts.append(("close", turn, close))
        context += close
    return parts


def logits_of(model, ids, chunk):
    """float32 [T, V], `chunk` positions of logits at a time."""
    import torch
    rows, past = [], None
    with torch.no_grad():
        for begin in range(0, len(ids), chunk):
            out = model(torch.tensor([ids[begin:begin + chunk]]), past_key_values=past, use_cache=True)
            past = out.past_key_values
            rows.append(out.logits[0].float())
    return torch.cat(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="model folder in Hugging Face's format")
    parser.add_argument("--out", required=True, help="safetensors file to write")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--prompt", action="append", help="a user message; repeat it for further turns")
    source.add_argument("--ids", help="score these token ids instead: 1,2,3")
    parser.add_argument("--system", help="system message")
    parser.add_argument("--max-tokens", type=int, default=24, help="of each answer")
    parser.add_argument("--chunk", type=int, default=1 << 20, help="positions per forward pass; default: all at once")
    args = parser.parse_args()
    if not (Path(args.model) / "config.json").exists():
        sys.exit(f"error: '{args.model}' is no model folder: it has no config.json")

    import torch
    import transformers
    from safetensors.torch import save_file
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype)).eval()
    if args.ids:
        parts = [("prompt", 1, [int(i) for i in args.ids.split(",")])]
    else:
        tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
        parts = converse(model, tokenizer, args.prompt or DEFAULT_PROMPTS, args.max_tokens, args.system)
    ids = [i for _, _, part in parts for i in part]
    if len(ids) < 2:
        sys.exit("error: two token ids are needed at least")
    logits = logits_of(model, ids, args.chunk)
    metadata = {"engine": f"transformers {transformers.__version__} {args.dtype}", "segments": json.dumps(segments_of(parts))}
    tokenizer_file = Path(args.model) / "tokenizer.json"
    if tokenizer_file.exists():
        metadata["tokenizer_sha256"] = hashlib.sha256(tokenizer_file.read_bytes()).hexdigest()
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    save_file({"input_ids": torch.tensor(ids, dtype=torch.int64), "logits": logits.contiguous()}, partial, metadata=metadata)
    partial.rename(out)
    print(f"{len(ids)} positions x {logits.shape[1]} logits -> {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
