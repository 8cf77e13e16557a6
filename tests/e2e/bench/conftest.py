"""A small random Qwen3 with a tokenizer that knows ChatML, and how the programs are started on it."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "oracle"))
import make_random_model  # noqa: E402

BUILD = pathlib.Path(os.environ.get("TETRAD_BUILD", ROOT / "build"))
HOST = BUILD / "bin" / "host"
TOKENIZER = ROOT / "models" / "default"


def run(*words, code=0, **more):
    result = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, **more)
    assert result.returncode == code, f"exit {result.returncode}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
    return result


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    if not (BUILD / "bin" / "tetrad-engine").exists() or not (TOKENIZER / "tokenizer.json").exists():
        pytest.skip("the engine is not built, or models/default is not there")
    folder = tmp_path_factory.mktemp("bench") / "model"
    make_random_model.make_model(folder, arch="qwen3", heads=4, kv_heads=2, head_dim=16, hidden=64, layers=2, tokenizer=TOKENIZER,
                                 max_positions=1024, seed=5)
    for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]:
        if (TOKENIZER / file).exists() and not (folder / file).exists():
            (folder / file).write_bytes((TOKENIZER / file).read_bytes())
    return folder
