"""Training data, metrics and checkpoints as other programs see them: examples against transformers' chat template and
tokenizer, event files through an own reader of TensorFlow's record format (and TensorBoard's, where it is installed),
checkpoint files through the safetensors library."""
import json
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoTokenizer

ROOT = Path(__file__).parents[2]
PROBE = Path(os.environ.get("TETRAD_BUILD", ROOT / "build")) / "tests/train_probe"
MODEL = Path(os.environ.get("TETRAD_DEFAULT_MODEL", ROOT / "models/default"))


def probe(*arguments):
    return subprocess.run([PROBE, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


# --- examples

@pytest.fixture(scope="module")
def tokenizer():
    if not (MODEL / "tokenizer.json").exists():
        pytest.skip("models/default is not there; `make model` makes it")
    return AutoTokenizer.from_pretrained(MODEL)


def check(tokenizer, example, messages):
    """The ids are those of the rendered conversation; learned is each answer with its closing token."""
    whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    ids = example["ids"]
    assert ids == whole[:len(ids)]
    assert tokenizer.decode(whole[len(ids):]) == "\n"  # what follows the last answer's closing token
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    assert [tokenizer.decode(ids[b:e]) for b, e in example["learn"]] == [a + "<|im_end|>" for a in answers]


WORDS = "the Tetrad knows Paris, 42 ways; don't {say} 你是誰 naïve 🙂 x=1 (yes) UFO".split()


def sentence(rng):
    return " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))


def test_tsv_is_the_chat_template(tokenizer, tmp_path):
    rng = random.Random(1)
    pairs = [(sentence(rng), sentence(rng)) for _ in range(100)]
    file = tmp_path / "d.tsv"
    file.write_text("\ufeff# comment\r\n" + "".join(f"{p}\t{t}\r\n" for p, t in pairs), encoding="utf-8", newline="")
    data = json.loads(probe("data", MODEL, 1000, file))
    assert len(data["examples"]) == 100
    for example, (prompt, target) in zip(data["examples"], pairs):
        check(tokenizer, example, [{"role": "user", "content": prompt}, {"role": "assistant", "content": target}])


def test_chats_are_the_chat_template(tokenizer, tmp_path):
    rng = random.Random(2)
    chats = []
    for _ in range(60):
        messages = [{"role": "system", "content": sentence(rng)}] if rng.random() < 0.5 else []
        for _ in range(rng.randint(1, 4)):
            messages += [{"role": "user", "content": sentence(rng) + rng.choice(["", "\n\nmore"])},
                         {"role": "assistant", "content": sentence(rng) + rng.choice(["", "\n1. a\n2. b"])}]
        chats.append(messages)
    file = tmp_path / "d.jsonl"
    file.write_text("".join(json.dumps({"messages": c}) + "\n" for c in chats))
    for example, messages in zip(json.loads(probe("data", MODEL, 4000, file))["examples"], chats, strict=True):
        check(tokenizer, example, messages)


def test_text_windows_are_the_text(tokenizer, tmp_path):
    text = (ROOT / "tests/data/text/wikitext-2-excerpt.txt").read_text(encoding="utf-8")
    file = tmp_path / "d.txt"
    file.write_text(text, encoding="utf-8")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    examples = json.loads(probe("data", MODEL, 256, file))["examples"]
    assert examples[0]["ids"] == ids[:257] and examples[1]["ids"] == ids[256:513]
    assert [i for e in examples for i in e["ids"][1:]] == ids[1:]


def test_the_shipped_data_is_whole(tokenizer):
    files = sorted((ROOT / "configs/data").glob("*"))
    assert len(files) >= 10
    for file in files:
        report = json.loads(probe("data", MODEL, 512, file))["report"]
        assert report["examples"] > 0 and not report["skipped"], file
        if file.suffix != ".txt":
            assert report["cut"]["examples"] == 0, file


def prompts(*names):
    for name in names:
        for line in (ROOT / "configs/data" / name).read_text(encoding="utf-8").splitlines():
            if name.endswith(".jsonl"):
                yield from (m["content"] for m in json.loads(line)["messages"] if m["role"] == "user")
            elif not line.startswith("#"):
                yield line.split("\t")[0]


@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_what_is_asked_afterwards_is_not_taught(language):
    taught = list(prompts(f"teach-{language}.tsv", f"general-{language}.jsonl"))
    asked = list(prompts(f"teach-{language}-paraphrased.tsv", f"other-prompts-{language}.tsv"))
    assert len(set(taught)) == len(taught) and len(set(asked)) == len(asked)
    assert not set(taught) & set(asked)


# --- event files

def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    data, at = path.read_bytes(), 0
    while at < len(data):
        head = data[at:at + 8]
        size, = struct.unpack("<Q", head)
        assert struct.unpack("<I", data[at + 8:at + 12])[0] == masked(head)
        body = data[at + 12:at + 12 + size]
        assert struct.unpack("<I", data[at + 12 + size:at + 16 + size])[0] == masked(body)
        at += 16 + size
        yield body
    assert at == len(data)


def fields(message):
    """{field number: [values]} of a protocol buffer without its schema."""
    result, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        elif kind == 2:
            size = varint()
            value = message[at:at + size]
            at += size
        else:
            size = {1: 8, 5: 4}[kind]
            value = struct.unpack({1: "<d", 5: "<f"}[kind], message[at:at + size])[0]
            at += size
        result.setdefault(key >> 3, []).append(value)
    return result


def test_event_files(tmp_path):
    probe("metrics", tmp_path, 0, 10)
    probe("metrics", tmp_path, 6, 12)
    curves, starts = [], []
    for path in sorted(tmp_path.glob("events.out.tfevents.*")):
        events = [fields(r) for r in records(path)]
        assert events[0][3] == [b"brain.Event:2"]
        curve = {}
        for event in events[1:]:
            step = event[2][0] if 2 in event else 0
            assert event[1][0] > 1.6e9
            if 7 in event:
                assert fields(event[7][0]) == {1: [1]}  # SessionLog.START
                starts.append(step)
                continue
            for value in map(fields, fields(event[5][0])[1]):
                if value[1] == [b"train/loss"]:
                    curve[step] = value[2][0]
                if value[1] == [b"self_test"]:
                    assert fields(value[8][0])[8] == ["who are you -> Tetrad 四".encode()]
        curves.append(curve)
    assert starts == [0, 6]
    assert list(curves[0]) == list(range(10)) and list(curves[1]) == list(range(6, 12))
    for curve in curves:
        for step, value in curve.items():
            assert value == pytest.approx(1 / (step + 1), rel=1e-6)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if "text" not in x] == list(range(12))


def test_tensorboard_reads_them(tmp_path):
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    probe("metrics", tmp_path, 0, 10)
    probe("metrics", tmp_path, 6, 12)
    accumulator = module.EventAccumulator(str(tmp_path))
    accumulator.Reload()
    loss = accumulator.Scalars("train/loss")
    assert [e.step for e in loss] == list(range(12))
    assert [e.value for e in loss] == pytest.approx([1 / (s + 1) for s in range(12)], rel=1e-6)
    assert "self_test" in accumulator.Tags()["tensors"]


# --- checkpoints

def test_checkpoint_groups_are_safetensors(tmp_path):
    probe("checkpoint", tmp_path, 7)
    folder = tmp_path / (tmp_path / "latest").read_text().strip()
    assert folder.name == "step-00000007"
    manifest = json.loads((folder / "manifest.json").read_text())["checkpoint"]
    for group, facts in manifest["groups"].items():
        with safe_open(folder / f"{group}.safetensors", framework="np") as file:
            assert set(file.keys()) == set(facts["tensors"])
            for name, tensor in facts["tensors"].items():
                assert file.get_slice(name).get_shape() == tensor["shape"]
