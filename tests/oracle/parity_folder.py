"""A parity result folder out of nothing, with arms as a comparison of a small model would leave them."""
import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file

NUMERICS = {"linear": {"bounds": {"bfloat16": 4e-3, "float16": 5e-4, "float32": 3e-7}, "weights": {"reference": "nvfp4"}},
            "kv_cache": {"bounds": {"bfloat16": 0.0, "float16": 0.0, "float32": 0.0}}}
WORDS = ["The", " capital", " of", " France", " is", " Paris", ".", "\n", "記憶體", {"bytes": "e4bd"}, {"bytes": "a0"},
         " <b>", " &amp;", "！", " river", " runs"]


def piece(i):
    word = WORDS[i % len(WORDS)]
    return word if isinstance(word, dict) else {"text": word}


class ParityFolder:
    def __init__(self, path, positions=48, vocabulary=211, layers=5, width=40, seed=0):
        self.path = Path(path)
        self.rng = torch.Generator().manual_seed(seed)
        self.vocabulary, self.layers, self.width = vocabulary, layers, width
        self.ids = torch.randint(0, vocabulary, (positions,), generator=self.rng)
        self.arms, self.swept = [], ["path", "parity.feed"]
        self.tolerance, self.exact = {}, {}
        self.logits = 3 * torch.randn(positions, vocabulary, generator=self.rng)
        self.hidden = {f"{layer:03d}/{order:02d}.{name}": torch.randn(8, width, generator=self.rng)
                       for layer in range(layers) for order, name in enumerate(("q", "attention", "down_proj"))}

    def noise(self, tensor, relative):
        return tensor * (1 + relative * torch.randn(tensor.shape, generator=self.rng))

    def add(self, label, logits, hidden=None, differs=(), speed=70.0, memory=4e8, losses=None, updates=None, greedy=None,
            perplexity=None, error=None):
        index = len(self.arms)
        folder = self.path / "arms" / f"{index:02d}"
        folder.mkdir(parents=True)
        self.arms.append({"index": index, "label": label, "folder": f"arms/{index:02d}", "sets": [], "values": {},
                          "config_files": [], "config_hash": "", "config": {}, "error": error,
                          "differs": [{"key": key, "a": 1, "b": 2, "swept": key in self.swept} for key in differs]})
        if error:
            return
        save_file({"input_ids": self.ids, "logits": logits}, str(folder / "logits.safetensors"))
        if hidden is not None:
            save_file({"positions": torch.arange(len(self.ids) - 8, len(self.ids))} | hidden, str(folder / "layers.safetensors"))
        if updates is not None:
            save_file(updates, str(folder / "updates.safetensors"))
        probs, top = logits[20].softmax(-1).topk(5)
        answer = greedy or [5, 6, 14, 15, 8]
        record = {"format": "tetrad-parity-arm", "version": 1, "status": "ok", "error": None, "exit_code": 0,
                  "identity": {"dtype": "bfloat16"}, "tokenizer_sha256": "t", "vocab_size": self.vocabulary,
                  "weights_identity": "w", "numerics": NUMERICS, "feed": "whole", "script_sha256": "s",
                  "positions": len(self.ids),
                  "greedy": [{"turn": 1, "ids": answer, "text": "", "pieces": [piece(i) for i in answer], "stop_reason": "length"},
                             {"turn": 2, "ids": [3, 9, 10], "text": "", "pieces": [piece(i) for i in (3, 9, 10)],
                              "stop_reason": "stop"}],
                  "first_token": {"position": 20, "top": [{"id": int(i), "piece": piece(int(i)), "logit": 1.0, "prob": float(p)}
                                                          for p, i in zip(probs, top)]},
                  "perplexity": perplexity,
                  "timing": {"load_s": 0.41, "ttft_s": 0.023, "prefill_tok_s": 930.0, "decode_tok_s": speed, "score_s": 1.0},
                  "memory": {"host_peak_bytes": memory, "device_peak_bytes": 0, "kv_bytes": 2359296},
                  "iterations": {"count": 1, "equal": True, "first_difference": None},
                  "training": None if losses is None else {"losses": losses, "steps": len(losses),
                                                           "updates_file": "updates.safetensors"}}
        (folder / "arm.json").write_text(json.dumps(record))

    def write(self):
        half = len(self.ids) // 2
        (self.path / "plan.json").write_text(json.dumps(
            {"format": "tetrad-parity-plan", "version": 1, "created_utc": "20261123T220000Z", "swept": self.swept, "reference": 0,
             "settings": {"tolerance": self.tolerance, "self_noise_factor": 2}, "arms": self.arms}))
        (self.path / "script.json").write_text(json.dumps(
            {"format": "tetrad-parity-script", "version": 1, "ids": self.ids.tolist(), "tokenizer_sha256": "t",
             "vocab_size": self.vocabulary, "made_by": "training", "text_pieces": [piece(int(i)) for i in self.ids],
             "segments": [{"kind": "prompt", "turn": 1, "begin": 0, "end": half // 2},
                          {"kind": "answer", "turn": 1, "begin": half // 2, "end": half},
                          {"kind": "prompt", "turn": 2, "begin": half, "end": half + 8},
                          {"kind": "answer", "turn": 2, "begin": half + 8, "end": len(self.ids)}]}))
        return self.path


def typical(path):
    """A reference, itself in chunks, a good arm, one with a bug in layer 3, one that could not run."""
    folder = ParityFolder(path)
    nll = (2.4 + torch.randn(400, generator=folder.rng)).tolist()

    def perplexity(shift):
        return {"text": "text.txt", "value": math.exp(sum(nll) / len(nll) + shift), "standard_error": 0.5, "tokens": 400,
                "token_nll": [n + shift for n in nll]}

    rounded = {name: folder.noise(t, 2e-3 * math.sqrt(1 + int(name[:3]))) for name, t in folder.hidden.items()}
    broken = {name: folder.noise(t, 0.3 if name >= "003/01" else 2e-3) for name, t in folder.hidden.items()}
    folder.add("training feed=whole", folder.logits, folder.hidden, perplexity=perplexity(0))
    folder.add("training feed=chunk:4", folder.noise(folder.logits, 3e-3), rounded, ["parity.feed"], 66, perplexity=perplexity(1e-4))
    folder.add("bridge feed=whole", folder.noise(folder.logits, 3e-3), rounded, ["path"], 178, 2.2e8, perplexity=perplexity(2e-4))
    folder.add("一個有錯的外掛 <broken>", folder.noise(folder.logits, 0.4), broken, ["path"], 120, 3e8, greedy=[5, 6, 11, 9],
               perplexity=perplexity(0.3))
    folder.add("no such plugin", None, error="[plugins] no plugin 'x' in the search path")
    return folder
