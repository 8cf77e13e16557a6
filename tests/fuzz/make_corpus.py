#!/usr/bin/env python3
"""Writes the parts of the fuzz corpus that no text editor can: binary files, and JSON with a table of 256 bytes in it.

  make_corpus.py      # into corpus/ beside this script; the result is committed

Standard library only. The other files of corpus/ are written by hand, or were found by a fuzzer.
"""
import json
import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"


def write(name, data):
    file = CORPUS / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data if isinstance(data, bytes) else data.encode())


def safetensors(header, data=b"", pad=0):
    text = (header if isinstance(header, str) else json.dumps(header, separators=(",", ":"))).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + data


def make_safetensors():
    def t(dtype, shape, begin, end):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    write("safetensors/empty", safetensors({}))
    write("safetensors/two", safetensors({"__metadata__": {"format": "pt"}, "a": t("F32", [2], 0, 8),
                                          "b": t("BF16", [2, 3], 8, 20)}, bytes(range(20)), pad=5))
    every = ["BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F16", "BF16", "I16", "U16", "I32", "U32", "F32", "I64", "U64", "F64"]
    sizes = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 8]
    header, at = {}, 0
    for dtype, size in zip(every, sizes):
        header[dtype.lower()] = t(dtype, [1], at, at + size)
        at += size
    write("safetensors/every-dtype", safetensors(header, bytes(at)))
    write("safetensors/scalar-and-none", safetensors({"s": t("U8", [], 0, 1), "n": t("F64", [0, 7], 1, 1)}, b"x"))
    write("safetensors/overlap", safetensors({"a": t("U8", [5], 0, 5), "b": t("U8", [4], 4, 8)}, bytes(8)))
    write("safetensors/huge", safetensors({"a": t("F64", [1 << 32, 1 << 32], 0, 8)}, bytes(8)))
    write("safetensors/deep", safetensors('{"t":' + "[" * 64 + "]" * 64 + "}"))


def byte_alphabet():
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {b: chr(b) for b in own}
    for b in range(256):
        if b not in table:
            table[b] = chr(0x100 + len(table) - len(own))
    return [table[b] for b in range(256)]


def make_tokenizers():
    vocab = {c: i for i, c in enumerate(byte_alphabet())}
    merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "1 2", "12 3"]
    for merge in merges:
        vocab["".join(merge.split())] = len(vocab)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}

    def added(content, special=True, **more):
        entry = {"id": len(vocab) + added.count, "content": content, "single_word": False, "lstrip": False,
                 "rstrip": False, "normalized": False, "special": special, **more}
        added.count += 1
        return entry

    def document(**changes):
        added.count = 0
        result = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [added("<|end|>"), added("<s>")],
                  "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
                  "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                            "ignore_merges": False, "vocab": vocab, "merges": merges}}
        result.update(changes)
        return json.dumps(result, ensure_ascii=False, separators=(",", ":"))

    write("tokenizer/gpt2.json", document())
    split = {"type": "Split", "pattern": {"Regex": "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"},
             "behavior": "Isolated", "invert": False}
    plain = dict(level, use_regex=False)
    write("tokenizer/split-nfc.json", document(
        normalizer={"type": "NFC"}, pre_tokenizer={"type": "Sequence", "pretokenizers": [split, plain]}))
    added.count = 0
    write("tokenizer/digits-bos.json", document(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]},
        post_processor={"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                                                 {"Sequence": {"id": "A", "type_id": 0}}],
                        "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [len(vocab) + 1], "tokens": ["<s>"]}}}))
    small = json.loads(document())
    small["model"]["vocab"] = {"a": 0, "b": 1, "ab": 2}
    small["model"]["merges"] = [["a", "b"]]
    small["added_tokens"] = [{"id": 3, "content": "<s>", "special": True, "single_word": True, "lstrip": True, "rstrip": True,
                              "normalized": True}]
    write("tokenizer/small.json", json.dumps(small, separators=(",", ":")))


def elf(machine, note_text):
    """A shared library of one segment: header, program headers, a note, a dynamic section, strings, symbols."""
    name = b"Tetrad\0"
    note = struct.pack("<III", len(name), len(note_text), 1) + name.ljust(8, b"\0") + note_text
    note = note.ljust(-(-len(note) // 4) * 4, b"\0")
    build = struct.pack("<III", 4, 8, 3) + b"GNU\0" + bytes(range(8))
    strings = b"\0libc.so.6\0small.so\0$ORIGIN\0tetrad_plugin_v1\0malloc\0"
    at_note = 64 + 3 * 56
    notes = note + build
    at_strings = at_note + len(notes)
    at_dynamic = -(-(at_strings + len(strings)) // 8) * 8
    dynamic = b"".join(struct.pack("<qQ", tag, value) for tag, value in
                       [(1, 1), (14, strings.index(b"small")), (29, strings.index(b"$ORIGIN")), (5, at_strings),
                        (10, len(strings)), (0, 0)])
    at_symbols = at_dynamic + len(dynamic)
    symbols = bytes(24) + struct.pack("<IBBHQQ", strings.index(b"tetrad"), 0x12, 0, 1, 64, 8)
    symbols += struct.pack("<IBBHQQ", strings.index(b"malloc"), 0x12, 0, 0, 0, 0)
    at_sections = -(-(at_symbols + len(symbols)) // 8) * 8
    sections = bytes(64) + struct.pack("<IIQQQQIIQQ", 0, 11, 2, at_symbols, at_symbols, len(symbols), 2, 1, 8, 24)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 2, at_strings, at_strings, len(strings), 0, 0, 1, 0)
    size = at_sections + len(sections)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, at_sections, 0, 64, 56, 3, 64, 3, 0)
    programs = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 4096)
    programs += struct.pack("<IIQQQQQQ", 4, 4, at_note, at_note, at_note, len(notes), len(notes), 4)
    programs += struct.pack("<IIQQQQQQ", 2, 6, at_dynamic, at_dynamic, at_dynamic, len(dynamic), len(dynamic), 8)
    body = header + programs + notes + strings
    body = body.ljust(at_dynamic, b"\0") + dynamic + symbols
    return body.ljust(at_sections, b"\0") + sections


FINGERPRINT = dict(
    interface_hash="0" * 64, build_type="RelWithDebInfo", sanitizers="", machine="x86_64", compiler="gcc",
    cxx_library="libstdc++", pointer_bits=64, compiler_major=12, compiler_minor=2, cxx_abi=1017, cxx_library_release=12,
    cxx_library_debug=0, cxx11_abi=1, exceptions=1, rtti=1, asan=0, tsan=0, torch_version="2.11.0",
    cuda={"version": "13.0", "architectures": "90a"})

METADATA = {
    "note": 1,
    "plugin": {"id": "small", "version": "0.1.0", "kinds": ["linear", "kv_cache"], "description": "One.",
               "licence": "Apache-2.0",
               "options": [{"key": "on", "type": "bool", "default": True},
                           {"key": "tile", "type": "int", "default": 64, "min": 16, "max": 256, "doc": "Rows."},
                           {"key": "scale", "type": "number", "min": 0.5, "max": 2},
                           {"key": "mode", "type": "enum", "values": ["a", "b"], "default": "a", "kind": "linear"},
                           {"key": "label", "type": "string", "default": ""}],
               "capabilities": [{"device": "cpu", "support": "native"}, {"device": "cuda", "support": "unsupported",
                                                                          "reason": "none"}],
               "numerics": {"deterministic": True, "accumulation": "fp32", "rounding": "nearest_even",
                            "bounds": {"float32": 3e-7}}},
}


def make_metadata():
    text = json.dumps(dict(METADATA, fingerprint=FINGERPRINT), separators=(",", ":"))
    write("plugin_metadata/small.json", text)
    other = json.loads(text)
    other["plugin"]["capabilities"] = {"devices": ["cpu", "cuda"], "dtypes": ["float32"]}
    write("plugin_metadata/devices.json", json.dumps(other, separators=(",", ":")))
    write("elf_note/x86_64", elf(62, text.encode()))
    write("elf_note/aarch64", elf(183, text.encode()))
    write("elf_note/no-json", elf(62, b"not json"))


def make_frames():
    def frame(message):
        text = json.dumps(message, separators=(",", ":")).encode()
        return struct.pack("<I", len(text)) + text

    run = {"v": 1, "type": "run", "command": "chat", "config": {"task": "chat", "guard": {"sensors": []}},
           "config_file": "c.yaml", "config_hash": "0" * 64,
           "plugins": [{"kind": "linear", "id": "small", "file": "/a/small.so", "version": "0.1.0", "metadata": {}}],
           "args": {"ids": [1, 2]}, "run_dir": None, "guard": {"limit_bytes": 4096}}
    phase = {"v": 1, "type": "phase", "name": "ready", "bytes_now": 1, "bytes_forecast": None}
    status = {"v": 1, "type": "status", "exit_code": 0, "message": ""}
    write("control_channel/run-stop", frame(run) + frame({"v": 1, "type": "stop", "reason": "interrupt"}))
    write("control_channel/phase-status", frame(phase) + frame(dict(phase, details={"a": [1]})) + frame(status))
    write("control_channel/cut", frame(status)[:-3])


def main():
    make_safetensors()
    make_tokenizers()
    make_metadata()
    make_frames()


if __name__ == "__main__":
    main()
