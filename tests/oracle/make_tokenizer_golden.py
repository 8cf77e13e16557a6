#!/usr/bin/env python3
"""Writes tests/data/text/tokenizers.json: a small trained byte-level BPE, patches of it (one construct each), and what
Hugging Face tokenizers gives for some texts. The C++ test reads it where no Python is at hand."""
import json
import random

import tokenizers

from tokenizer_cases import DATA, PLAIN_TEXTS, base, expected, patched, random_text, variants


def main():
    document = base()
    rng = random.Random(5)
    out = {"tokenizers": tokenizers.__version__, "base": document, "texts": PLAIN_TEXTS, "variants": []}
    for name, patch in variants(document):
        cases = []
        for text in PLAIN_TEXTS + [random_text(rng)[:30] for _ in range(3)]:
            ids, plain, processed = expected(patched(document, patch), text)
            case = [PLAIN_TEXTS.index(text) if text in PLAIN_TEXTS else text, ids]
            if plain != ids or processed != ids:
                case += [plain, processed]
            cases.append(case)
        out["variants"].append({"name": name, "patch": patch, "cases": rng.sample(cases, 12)})
    text = json.dumps(out, ensure_ascii=True, separators=(",", ":"))
    (DATA / "tokenizers.json").write_text(text + "\n", encoding="utf-8")
    print(len(text), "bytes")


if __name__ == "__main__":
    main()
