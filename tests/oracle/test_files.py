"""Weight files and model directories against safetensors and transformers.

The probe (tests/unit/io/file_probe.cpp) tells what Tetrad reads; here the formats' own libraries say what is right.
"""
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.torch import load_file, save, save_file

sys.path.insert(0, str(Path(__file__).parent))
import make_random_model  # noqa: E402

PROBE = Path(os.environ["TETRAD_BUILD"]) / "tests" / "file_probe"

NAMES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
         torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
         torch.uint16: "U16", torch.uint32: "U32", torch.uint64: "U64",
         torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2"}


def probe(*commands):
    text = "".join("\t".join(str(word) for word in command) + "\n" for command in commands)
    done = subprocess.run([PROBE], input=text, capture_output=True, text=True, check=True, timeout=120)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(commands)
    return answers if len(answers) > 1 else answers[0]


def raw(tensor):
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def random_tensors(rng):
    tensors = {}
    for i in range(rng.randrange(0, 20)):
        dtype = rng.choice(list(NAMES))
        shape = [rng.randrange(0, 7) for _ in range(rng.randrange(0, 4))]
        elements = 1
        for n in shape:
            elements *= n
        size = torch.empty(0, dtype=dtype).element_size()
        high = 2 if dtype == torch.bool else 256
        data = torch.tensor([rng.randrange(high) for _ in range(elements * size)], dtype=torch.uint8)
        tensors[f"{rng.choice(['layer', 'wei ght', '權重'])}.{i}"] = data.view(dtype).reshape(shape)
    return tensors


def test_reads_what_safetensors_writes(tmp_path):
    rng = random.Random(1)
    for case in range(40):
        tensors = random_tensors(rng)
        metadata = {"format": "pt", "note": "筆記 \"x\"\n"} if case % 2 else None
        save_file(tensors, tmp_path / "m.safetensors", metadata)
        answer = probe(("read", tmp_path / "m.safetensors"))
        assert answer == {
            "tensors": {name: {"dtype": NAMES[t.dtype], "shape": list(t.shape), "sha256": hashlib.sha256(raw(t)).hexdigest()}
                        for name, t in tensors.items()},
            "metadata": metadata or {}}


def test_safetensors_reads_what_tetrad_writes(tmp_path):
    rng = random.Random(2)
    for case in range(40):
        tensors = random_tensors(rng)
        metadata = {"format": "pt"} if case % 2 else None
        save_file(tensors, tmp_path / "a.safetensors", metadata)
        assert probe(("rewrite", tmp_path / "a.safetensors", tmp_path / "b.safetensors")) == {}
        again = load_file(tmp_path / "b.safetensors")
        assert again.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert again[name].dtype == tensor.dtype and again[name].shape == tensor.shape
            assert raw(again[name]) == raw(tensor)
        with safe_open(tmp_path / "b.safetensors", "pt") as opened:
            assert opened.metadata() == metadata


def damaged(rng, whole):
    """A file with a few bytes, a header field or a length changed; most cases stay near the valid ones."""
    length = int.from_bytes(whole[:8], "little")
    header, data = whole[8:8 + length], whole[8 + length:]
    kind = rng.randrange(4)
    if kind == 0:  # bytes of the header
        header = bytearray(header)
        for _ in range(rng.randrange(1, 4)):
            header[rng.randrange(len(header))] = rng.choice(b'0123456789{}[]":,aF_- ')
        header = bytes(header)
    elif kind == 1:  # a field
        fields = json.loads(header)
        names = [n for n in fields if n != "__metadata__"]
        entry = fields[rng.choice(names)]
        which = rng.choice(["dtype", "shape", "data_offsets", "swap", "drop"])
        if which == "dtype":
            entry["dtype"] = rng.choice(["F32", "U8", "I64", "X", "BF16", 3, None])
        elif which == "shape":
            entry["shape"] = rng.choice([[], [0], [2**63], [2**62, 8], [1, 1], [-1], [1.0], None, "1"])
        elif which == "data_offsets":
            entry["data_offsets"] = [rng.choice([0, 1, 8, len(data), len(data) + 1, 2**63, -1]) for _ in range(2)]
        elif which == "drop":
            fields.pop(rng.choice(names))
        else:
            a, b = rng.choice(names), rng.choice(names)
            fields[a]["data_offsets"], fields[b]["data_offsets"] = fields[b]["data_offsets"], fields[a]["data_offsets"]
        header = json.dumps(fields).encode()
    elif kind == 2:  # the end of the file
        data = data[:rng.randrange(len(data) + 1)] if rng.random() < 0.5 else data + b"x" * rng.randrange(3)
    else:  # the length field
        return (length + rng.choice([-9, -1, 1, 9, 2**40])).to_bytes(8, "little", signed=False) + header + data
    return len(header).to_bytes(8, "little") + header + data


def test_refuses_what_safetensors_refuses(tmp_path):
    """Every file that the format's own library refuses, Tetrad refuses. The reverse may be stricter."""
    rng = random.Random(3)
    files, accepted_by_library = [], []
    for case in range(600):
        tensors = {name: t for name, t in random_tensors(rng).items() if t.numel()}
        tensors.setdefault("a", torch.arange(6, dtype=torch.int32).reshape(2, 3))
        content = damaged(rng, save(tensors))
        path = tmp_path / f"{case}.safetensors"
        path.write_bytes(content)
        files.append(path)
        try:
            deserialize(content)
            accepted_by_library.append(True)
        except SafetensorError:
            accepted_by_library.append(False)
    answers = probe(*[("read", path) for path in files])
    stricter = 0
    for path, answer, accepted in zip(files, answers, accepted_by_library):
        assert accepted or "error" in answer, f"{path.name} is refused by safetensors: {path.read_bytes()[:300]}"
        stricter += accepted and "error" in answer
    assert 30 < sum(accepted_by_library) < 570
    assert stricter < 60, "Tetrad refuses many files that safetensors accepts"


@pytest.mark.parametrize("preset", sorted(make_random_model.PRESETS))
def test_model_directories(tmp_path, preset):
    from transformers import AutoConfig, AutoModelForCausalLM

    make_random_model.make_model(tmp_path, preset, seed=5)
    answer = probe(("model", tmp_path))
    assert "error" not in answer, answer
    config = AutoConfig.from_pretrained(tmp_path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert answer["architecture"] == config.model_type
    assert answer["num_key_value_heads"] == config.num_key_value_heads
    assert answer["head_dim"] == config.head_dim
    assert answer["rms_norm_eps"] == config.rms_norm_eps
    assert answer["tie_word_embeddings"] == config.tie_word_embeddings
    assert answer["dtype"] == NAMES[config.dtype]
    assert answer["parameters"] == sum(p.numel() for p in model.parameters())
    shapes = {name: list(p.shape) for name, p in model.named_parameters()}  # a tied head is not listed twice
    assert answer["tensors"] == shapes
    assert answer["ignored"] == []
    rotary = type(model.model.rotary_emb)(config)
    torch.testing.assert_close(torch.tensor(answer["inv_freq"]), rotary.inv_freq, rtol=2.5e-7, atol=0)
    assert answer["attention_scaling"] == pytest.approx(rotary.attention_scaling, abs=1e-12)


def test_what_transformers_saves(tmp_path):
    """Directories as save_pretrained writes them today, sharded and not."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                 vocab_size=101, bos_token_id=1, eos_token_id=[2, 7], max_position_embeddings=256)
    models = {
        "qwen3": Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=24, tie_word_embeddings=True)),
        "llama": LlamaForCausalLM(LlamaConfig(**sizes, rope_parameters={
            "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64})),
    }
    for name, model in models.items():
        for shard_size in ("5GB", "100KB"):
            folder = tmp_path / f"{name}-{shard_size}"
            model.to(torch.bfloat16).save_pretrained(folder, max_shard_size=shard_size)
            answer = probe(("model", folder))
            assert "error" not in answer, answer
            assert answer["eos_token_ids"] == [2, 7]
            assert answer["dtype"] == "BF16"
            assert (answer["shards"] > 1) == (shard_size == "100KB")
            assert answer["parameters"] == sum(p.numel() for p in model.parameters())
