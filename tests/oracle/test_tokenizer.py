"""The tokenizer against Hugging Face tokenizers: every construct, SmolLM2's and Qwen3's tokenizers, every code point."""
import json
import random
import sys
import unicodedata
from pathlib import Path

import gguf
import pytest
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parent))
import make_qwen_tokenizer  # noqa: E402
from text_probe import TextProbe  # noqa: E402
from tokenizer_cases import DATA, EXCERPT, PLAIN_TEXTS, base, expected, patched, random_text, variants  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import make_default_model  # noqa: E402

DOCUMENT = base()
VARIANTS = list(variants(DOCUMENT))


def build_smollm2(directory):
    """The default model's tokenizer.json, out of the same package and by the same code, without its weights."""
    fields = gguf.GGUFReader(make_default_model.find_source()).fields

    def meta(key):
        return fields[key].contents()

    document = make_default_model.make_tokenizer(meta, meta("llama.vocab_size"))
    make_default_model.write_json(directory / "tokenizer.json", document)


def compare(probe, hf, text):
    ids, plain, processed = expected(hf, text)
    assert probe.ask(encode=text) == {"ids": ids}, repr(text)
    assert probe.ask(encode=text, parse_special=False) == {"ids": plain}, repr(text)
    assert probe.ask(encode=text, add_special=True) == {"ids": processed}, repr(text)
    for skip in (False, True):
        got = bytes(probe.ask(decode=ids, skip_special=skip)["bytes"])
        assert got.decode("utf-8", "replace") == hf.decode(ids, skip_special_tokens=skip), repr(text)


@pytest.mark.parametrize("name,patch", VARIANTS, ids=[name for name, _ in VARIANTS])
def test_constructs(tmp_path, name, patch):
    document = patched(DOCUMENT, patch)
    (tmp_path / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    hf, probe = Tokenizer.from_str(json.dumps(document)), TextProbe(tmp_path)
    rng = random.Random(name)
    for text in PLAIN_TEXTS + [random_text(rng) for _ in range(150)]:
        compare(probe, hf, text)
    probe.close()


@pytest.fixture(scope="module", params=["smollm2", "qwen3"])
def model(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    (build_smollm2 if request.param == "smollm2" else make_qwen_tokenizer.build)(directory)
    hf, probe = Tokenizer.from_file(str(directory / "tokenizer.json")), TextProbe(directory)
    yield hf, probe
    probe.close()


def test_prose_and_code(model):
    hf, probe = model
    sources = [EXCERPT, Path(__file__), *sorted(DATA.glob("templates/*")), Path(__file__).parents[2] / "core/text/bpe.cpp"]
    chinese = Path(__file__).parents[2] / "README.zh-TW.md"
    for file in sources + ([chinese] if chinese.exists() else []):
        text = file.read_text(encoding="utf-8")
        compare(probe, hf, text)
        for paragraph in text.split("\n\n")[:200]:
            compare(probe, hf, paragraph)


def test_random_texts(model):
    hf, probe = model
    rng = random.Random(9)
    for _ in range(1500):
        compare(probe, hf, random_text(rng))


def test_added_tokens(model):
    hf, probe = model
    rng = random.Random(2)
    added = [token.content for token in hf.get_added_tokens_decoder().values()]
    assert len(added) > 15
    for content in added:
        for text in (content, f"a{content}b", f" {content} {content}\n", content[:-1], content + content[1:]):
            compare(probe, hf, text)
    for _ in range(100):
        compare(probe, hf, "".join(rng.choice(added + [" ", "x", "\n", "<", "|>"]) for _ in range(20)))


def test_every_token_gives_its_bytes(model):
    hf, probe = model
    for first in range(0, hf.get_vocab_size(), 997):
        ids = list(range(first, min(first + 997, hf.get_vocab_size())))
        got = bytes(probe.ask(decode=ids)["bytes"])
        assert got.decode("utf-8", "replace") == hf.decode(ids, skip_special_tokens=False)


def test_every_code_point(model):
    """Unicode tables differ in version between the libraries; only characters assigned later may differ."""
    hf, probe = model
    different = []
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000:
            continue
        if c % 0x40 == 0:
            chunk = [chr(i) for i in range(c, c + 0x40)]
            text = "".join(f"a{x}b 1{x} {x}\n" for x in chunk)
            if probe.ask(encode=text)["ids"] == hf.encode(text, add_special_tokens=False).ids:
                continue
            for x in chunk:
                text = f"a{x}b 1{x} {x}\n"
                if probe.ask(encode=text)["ids"] != hf.encode(text, add_special_tokens=False).ids:
                    different.append(ord(x))
    # Python 3.11's own tables are Unicode 14: what they know must agree.
    known = [c for c in different if unicodedata.category(chr(c)) != "Cn"]
    print(len(different), "code points differ, known of them:", [hex(c) for c in known])
    assert not known
    assert len(different) < 1000


def test_long_texts_take_no_quadratic_time(model):
    hf, probe = model
    for text in ("a" * 1_000_000, " " * 300_000, "\u0301" * 100_000, "\u0301\u0327" * 50_000, "中" * 100_000, "\n" * 100_000, "ab " * 100_000, "'" * 100_000):
        ids = probe.ask(encode=text)["ids"]
        assert bytes(probe.ask(decode=ids)["bytes"]) == unicodedata.normalize("NFC", text).encode() or hf.normalizer is None
        if len(text) <= 100_000:
            assert ids == hf.encode(text, add_special_tokens=False).ids


def test_invalid_ids_and_text(model):
    _, probe = model
    assert probe.ask(decode=[-1])["error"] == "[text] token id -1 is negative"
    assert probe.ask(decode=[10_000_000]) == {"bytes": []}
