"""Tokenizers and texts shared by the golden file (make_tokenizer_golden.py) and the oracle test (test_tokenizer.py)."""
import copy
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

DATA = Path(__file__).parent.parent / "data" / "text"
EXCERPT = DATA / "wikitext-2-excerpt.txt"
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
POSSESSIVE = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")

PLAIN_TEXTS = [
    "", " ", "a", "Hello world", "Hello  world \n\n  end  ", "I'm we'LL they'Ve it's 'ſ 'S 'RE", "12 345 6789 ½ ² Ⅷ ٣٤ 一二",
    "你好，世界。這是一個測試。", "日本語のテキスト、カタカナ 한국어", "naïve café e\u0301 o\u0308\u0323 \u1100\u1161\u11a8 \u212b \ufb01 \u0344",
    "🙂👨‍👩‍👧‍👦🇹🇼 🏽", "def f(x):\n\treturn {'a': [x**2 for _ in range(10)]}  # 注釋\r\n", "#include <x>\nint main(){return 0;}",
    "\u180e\u180ea\u180e b\u0085c\u00a0d\u2028e\u2029f\u3000g\u200bh\ufeffi", "\x00\x01\x1b[0m\x7f", "a" * 50, " " * 40 + "x", "\n" * 20, "\r\n" * 5 + "\r",
    "\u0301\u0327\u0301" * 5, "https://example.org/?q=1&r=%20#frag", "مرحبا بالعالم שלום", "ÀÉÎ ǅ ß ŉ İ", "'", "''s", " 's", "x\ty\vz\f",
    "<|im_start|>user\nHi<|im_end|>\n", "a<s>b</s> <mask>  c [word]d [word] e", "no w right left  rst  ", "e\u0301clair éclair", "\u212bngstrom"]

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def token(id, content, **flags):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True, **flags}


def base(vocab_size=400):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    texts = [EXCERPT.read_text(encoding="utf-8")[:40000]] + PLAIN_TEXTS * 3
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())


def variants(document):
    """(name, patch): fields of tokenizer.json to replace; "model." fields one level deeper."""
    n = len(document["model"]["vocab"])
    specials = [token(n, "<|im_start|>"), token(n + 1, "<|im_end|>"), token(n + 2, "<s>"), token(n + 3, "</s>")]
    flags = specials + [
        token(n + 4, "<mask>", lstrip=True), token(n + 5, "[word]", single_word=True, special=False, normalized=True),
        token(n + 6, "right", rstrip=True, special=False), token(n + 7, "left", lstrip=True, rstrip=True, special=False, normalized=True),
        token(n + 8, "\u212bng", special=False, normalized=True), token(n + 9, "\u00e9c", special=False, normalized=False),
        token(n + 10, "im_start", special=False), token(n + 11, "<|im_start|>user", special=False), token(n + 12, "你好", special=False, normalized=True),
        token(document["model"]["vocab"]["e"], "e", special=False, single_word=True)]
    nfc = {"type": "NFC"}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                                          {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [n + 2], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [n + 3], "tokens": ["</s>"]}}}
    merges = document["model"]["merges"]
    few = {t: i for t, i in document["model"]["vocab"].items() if len(t) > 1 or t.isalpha() and t.isascii()}
    few = {t: i for i, t in enumerate(sorted(few, key=few.get))}
    few_merges = [[a, b] for a, b in merges if a in few and b in few and a + b in few]
    vocab_without = {**few, "<unk>": len(few)}
    yield "gpt2", {}
    yield "gpt2-prefix-space", {"pre_tokenizer": {**BYTES, "add_prefix_space": True, "use_regex": True}, "added_tokens": specials}
    yield "bytes-only", {"pre_tokenizer": BYTES}
    yield "smollm", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, {**BYTES, "use_regex": True}), "added_tokens": specials}
    yield "digit-runs", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, BYTES)}
    yield "qwen", {"normalizer": nfc, "pre_tokenizer": sequence(split(QWEN), BYTES), "added_tokens": specials, "post_processor": BYTES}
    yield "llama3", {"pre_tokenizer": sequence(split(LLAMA3), BYTES), "added_tokens": specials, "model.ignore_merges": True,
                     "post_processor": {"type": "Sequence", "processors": [BYTES, template]}}
    yield "gpt4o", {"pre_tokenizer": sequence(split(GPT4O), BYTES)}
    yield "possessive", {"pre_tokenizer": sequence(split(POSSESSIVE), BYTES)}
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield f"split-{behavior}-{invert}", {"pre_tokenizer": sequence(split(r"[\s\p{P}]", behavior, invert), BYTES)}
        yield f"split-literal-{behavior}", {"pre_tokenizer": sequence(split("a", behavior, False, "String"), BYTES)}
    yield "split-dots-literal", {"pre_tokenizer": sequence(split(". ", "Isolated", False, "String"), BYTES)}
    yield "split-empty-matches", {"pre_tokenizer": sequence(split("l*", "Isolated"), split("[a-c]*", "Contiguous"), BYTES)}
    yield "split-scripts", {"pre_tokenizer": sequence(split(r"\p{Han}+|\p{Hiragana}+|\p{Latin}+|[^\p{Han}\p{L}]+"), BYTES)}
    yield "split-lookbehind", {"pre_tokenizer": sequence(split(r"(?<=\p{L})(?=\p{N})|(?<!\s)\s(?!\s)"), BYTES)}
    yield "added-flags", {"added_tokens": flags}
    yield "added-flags-nfc", {"added_tokens": flags, "normalizer": {"type": "Sequence", "normalizers": [nfc]}, "pre_tokenizer": sequence(split(QWEN), BYTES)}
    yield "template", {"added_tokens": specials, "post_processor": template}
    yield "merges-as-text", {"model.merges": [f"{a} {b}" for a, b in merges]}
    yield "merges-repeated", {"model.merges": merges + merges[:60]}
    yield "ignore-merges", {"model.ignore_merges": True, "model.merges": merges[: len(merges) // 2]}
    yield "missing-bytes", {"model.vocab": few, "model.merges": few_merges}
    yield "unknown", {"model.vocab": vocab_without, "model.merges": few_merges, "model.unk_token": "<unk>"}
    yield "unknown-fused", {"model.vocab": vocab_without, "model.merges": few_merges, "model.unk_token": "<unk>", "model.fuse_unk": True}


def patched(document, patch):
    document = copy.deepcopy(document)
    for key, value in patch.items():
        if key.startswith("model."):
            document["model"][key[6:]] = value
        else:
            document[key] = value
    return document


def expected(document, text):
    """(ids, ids with specials as plain text, ids with the post-processor) as Hugging Face has them."""
    hf = document if isinstance(document, Tokenizer) else Tokenizer.from_str(json.dumps(document))
    hf.encode_special_tokens = False
    ids, processed = hf.encode(text, add_special_tokens=False).ids, hf.encode(text, add_special_tokens=True).ids
    hf.encode_special_tokens = True
    plain = hf.encode(text, add_special_tokens=False).ids
    hf.encode_special_tokens = False
    return ids, plain, processed


def random_text(rng):
    kind = rng.randrange(6)
    size = rng.randrange(120)
    if kind == 0:
        return bytes(rng.randrange(256) for _ in range(size)).decode("utf-8", "replace")
    if kind == 1:
        return "".join(rng.choice(PLAIN_TEXTS)[: rng.randrange(20)] for _ in range(6))
    if kind == 2:  # combining marks in any order
        return "".join(chr(rng.choice([0x61, 0x65, 0x41, 0x3b1, 0x1100 + rng.randrange(19), 0x1161 + rng.randrange(21), *range(0x300, 0x330)])) for _ in range(size))
    if kind == 3:
        return "".join(rng.choice(["<s>", "</s>", "<mask>", "[word]", "right", "left", "<|im_start|>", "im_start", "user", " ", "  ", "x", "e", "\n", "é", "\u212bng", "你好"]) for _ in range(rng.randrange(20)))
    if kind == 4:
        return "".join(rng.choice(" \t\n\r\x0b\x0c\u0085\u00a0\u2003\u3000\u180e\u200bx'sS1.") for _ in range(size))
    ranges = [(32, 127), (0xa0, 0x250), (0x370, 0x400), (0x590, 0x700), (0x900, 0xa00), (0x1e00, 0x2000), (0x2000, 0x2c00), (0x3040, 0x3100), (0x4e00, 0x9fff), (0xac00, 0xd7a0), (0x1f300, 0x1f700), (0x20000, 0x20100)]
    return "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(size))
