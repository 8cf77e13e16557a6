"""What the oracle tests share: the built `host`, models made once a session, transformers' view of them.

ctest sets TETRAD_BUILD; by hand: TETRAD_BUILD=build .venv/bin/python -m pytest tests/oracle/test_logits.py
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TETRAD_BUILD", ROOT / "build"))
sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # here and in `host`: on a busy machine, waiting threads cost the working ones
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


class Host:
    """The `host` program on the CPU. `sets` are --set overrides by key, e.g. {"model.prefill_chunk": 7}."""

    def __init__(self, scratch):
        self.scratch = Path(scratch)

    def run(self, *args, model=None, dtype="float32", sets=None, expect=0, stdin=""):
        overrides = {"model.device": "cpu", "run.dir": "null"}
        if model is not None:
            overrides |= {"model.path": model, "model.dtype": dtype}
        overrides |= sets or {}
        words = [str(BUILD / "bin" / "host"), *map(str, args)]
        for key, value in overrides.items():
            words += ["--set", f"{key}={value}"]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=300, cwd=ROOT)
        assert done.returncode == expect, f"{' '.join(words)}\nexit {done.returncode}, not {expect}\n{done.stderr[-3000:]}"
        return done

    @staticmethod
    def config(name):
        return ["--config", ROOT / "configs" / f"{name}.yaml"]

    def logits(self, model, ids, config="bf16", dtype="float32", sets=None):
        """float32 [T, V]: the logits after each of the token ids."""
        from safetensors.torch import load_file
        ids = [int(i) for i in ids]
        out = Path(tempfile.mkdtemp(dir=self.scratch)) / "logits.safetensors"
        try:
            self.run("logits", *self.config(config), "--ids", ",".join(map(str, ids)), "--out", out, model=model,
                     dtype=dtype, sets=sets)
            stored = load_file(str(out))
        finally:
            shutil.rmtree(out.parent)
        assert stored["input_ids"].tolist() == ids
        return stored["logits"]

    def generate(self, model, prompt, config="bf16", dtype="float32", raw=False, sets=None):
        """The record that `generate --json` prints."""
        done = self.run("generate", *self.config(config), "--prompt", prompt, "--json", *(["--raw"] if raw else []),
                        model=model, dtype=dtype, sets=sets)
        return json.loads(done.stdout)

    def chat(self, model, prompt, turns=1, config="bf16", dtype="float32", sets=None, expect=0):
        """(turns of the run's record, stderr) of a scripted conversation."""
        runs = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            done = self.run(*self.config(config), model=model, dtype=dtype, expect=expect,
                            sets={"run.dir": runs, "chat.prompt": prompt, "chat.turns": turns} | (sets or {}))
            record, = runs.glob("*/record.json")
            return json.loads(record.read_text())["turns"], done.stderr
        finally:
            shutil.rmtree(runs)

    def perplexity(self, model, text, config="bf16", dtype="float32", sets=None):
        return json.loads(self.run("eval", *self.config(config), "--text", text, model=model, dtype=dtype, sets=sets).stdout)


class Reference:
    """transformers; a model is loaded once for each dtype."""

    def __init__(self):
        self.loaded = {}

    def model(self, directory, dtype="float32"):
        import torch
        from transformers import AutoModelForCausalLM
        key = (str(directory), dtype)
        if key not in self.loaded:
            if len(self.loaded) > 40:
                self.loaded.clear()
            self.loaded[key] = AutoModelForCausalLM.from_pretrained(directory, dtype=getattr(torch, dtype)).eval()
        return self.loaded[key]

    def logits(self, directory, ids, dtype="float32"):
        import torch
        with torch.no_grad():
            return self.model(directory, dtype)(torch.tensor([list(ids)])).logits[0].float()

    def greedy(self, directory, ids, count, stop=()):
        """The ids that greedy generation adds, `count` at most; a stop id ends it and is not among them."""
        import torch
        with torch.no_grad():
            out = self.model(directory).generate(
                torch.tensor([list(ids)]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=count,
                do_sample=False, eos_token_id=list(stop) or None, pad_token_id=0)[0, len(ids):].tolist()
        return out[:-1] if out and out[-1] in stop else out


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    return Host(tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="session")
def reference():
    return Reference()


@pytest.fixture(scope="session")
def default_model():
    """models/default, or TETRAD_DEFAULT_MODEL; `make test` makes it, so it is never skipped."""
    path = Path(os.environ.get("TETRAD_DEFAULT_MODEL", ROOT / "models" / "default"))
    assert (path / "model.safetensors").exists(), f"{path} is missing: run `make model`"
    return path


@pytest.fixture(scope="session")
def wikitext():
    return ROOT / "tests" / "data" / "text" / "wikitext-2-excerpt.txt"


@pytest.fixture(scope="session")
def text_ids(default_model, wikitext):
    """Token ids of WikiText-2 for the default model."""
    from tokenizers import Tokenizer
    return Tokenizer.from_file(str(default_model / "tokenizer.json")).encode(wikitext.read_text(encoding="utf-8")[:20000]).ids


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    """random_model(preset, **changes) -> directory with weights and a tokenizer, made once a session."""
    import make_random_model
    import make_tiny_tokenizer
    made = {}

    def make(preset, **changes):
        key = (preset, tuple(sorted(changes.items())))
        if key not in made:
            directory = tmp_path_factory.mktemp("model") / preset
            config = make_random_model.make_model(directory, preset=preset, **changes)
            make_tiny_tokenizer.write(directory, config["vocab_size"])
            made[key] = directory
        return made[key]

    return make


def relative_error(ours, reference):
    """The largest difference, relative to the largest value."""
    return ((ours - reference).abs().max() / reference.abs().max()).item()


def vocabulary(directory):
    return json.loads((Path(directory) / "config.json").read_text())["vocab_size"]


def random_ids(directory, count, seed=0):
    import torch
    return torch.randint(0, vocabulary(directory), (count,), generator=torch.Generator().manual_seed(seed)).tolist()
