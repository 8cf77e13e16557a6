"""Oracle tests: Tetrad's `host` against implementations nobody here wrote (transformers, tokenizers, safetensors, torchao).

Run by ctest, which sets TETRAD_BUILD; by hand: TETRAD_BUILD=build .venv/bin/python -m pytest tests/oracle
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("TETRAD_BUILD", ROOT / "build"))
sys.path.insert(0, str(Path(__file__).parent))

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


class Host:
    """The `host` program; every call is one run with its own results folder switched off."""

    def __call__(self, *args, check=True, stdin=None):
        command = [str(BUILD / "bin" / "host"), *map(str, args)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=600, cwd=ROOT)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}\nexit {done.returncode}\n{done.stderr}")
        return done

    def sets(self, model, dtype="float32", path=None, **extra):
        result = ["--set", f"model.path={model}", "--set", f"model.dtype={dtype}", "--set", "model.device=cpu",
                  "--set", "run.dir=null"]
        for key, value in extra.items():
            result += ["--set", f"{key.replace('__', '.')}={value}"]
        return result

    def logits(self, config, model, ids, out, dtype="float32", **extra):
        """float32 [T, V] for token ids."""
        from safetensors.torch import load_file
        self("logits", "--config", ROOT / "configs" / f"{config}.yaml", *self.sets(model, dtype, **extra),
             "--ids", ",".join(map(str, ids)), "--out", out)
        stored = load_file(str(out))
        assert stored["input_ids"].tolist() == list(ids)
        return stored["logits"]

    def generate(self, config, model, prompt, dtype="float32", raw=False, **extra):
        done = self("generate", "--config", ROOT / "configs" / f"{config}.yaml", *self.sets(model, dtype, **extra),
                    "--prompt", prompt, "--json", *(["--raw"] if raw else []))
        return json.loads(done.stdout)


@pytest.fixture(scope="session")
def host():
    return Host()


@pytest.fixture(scope="session")
def default_model():
    path = ROOT / "models" / "default"
    assert (path / "model.safetensors").exists(), "the default model is missing; `make test` makes it"
    return path


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    """random_model(preset, dtype=..., seed=...) -> directory, made once a session."""
    import make_random_model
    made = {}

    def make(preset, **options):
        key = (preset, tuple(sorted(options.items())))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("model") / preset
            make_random_model.make_model(made[key], preset=preset, **options)
        return made[key]

    return make


def reference_logits(model_dir, ids, dtype):
    """transformers' logits, float32 [T, V]."""
    import torch
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(torch.tensor([list(ids)])).logits[0].float()
