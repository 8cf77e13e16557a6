"""The acceptance of the predecessor, on a model of the user's; started by accept.sh. Standard library alone.

On each path: answers of 6, 8, 10, 16 and 24 tokens; a conversation of three turns; the continuation prompt. Everything that was
measured and each verdict goes onto one page of Markdown. Exit code 0 when all verdicts are good, 1 when one is not, 2 when the
program or the model is missing.
"""
import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "Write one short sentence about UFO and you."
CONTINUATION = "continue the previous sentence in one clause."
LENGTHS = (6, 8, 10, 16, 24)
PREDECESSOR_GB = 44    # peak of a chat through its training graph, after much work
PATHS = {"training": "training path", "bridge": "bridge path"}


class Failed(Exception):
    pass


class Page:
    def __init__(self):
        self.lines, self.verdicts = [], []

    def check(self, good, what):
        self.verdicts.append((bool(good), what))
        print(f"{'ok    ' if good else 'FAILED'} {what}", file=sys.stderr)

    def table(self, head, rows):
        self.lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        self.lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows] + [""]


class Host:
    def __init__(self, args, folder, weights):
        self.program, self.folder, self.weights = args.host, folder, weights
        self.config, self.more = args.config, args.set

    def chat(self, path, **settings):
        """(record, exit code, stderr) of a scripted conversation."""
        with tempfile.TemporaryDirectory(prefix="tetrad-accept-") as runs:
            sets = {"path": path, "model.path": self.folder, "run.dir": runs, "chat.prompt": PROMPT, "chat.collapse": "flag"}
            if self.weights:
                sets["model.weights"] = self.weights
            if path == "bridge":
                sets["linear.options.eval_cache"] = "false"
            sets |= {f"chat.{key}": value for key, value in settings.items()}
            words = [str(self.program), "--config", str(self.config), "--set", *(f"{k}={v}" for k, v in sets.items()), *self.more]
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
            record = list(Path(runs).glob("*/record.json"))
            if done.returncode != 0 or len(record) != 1:
                raise Failed(f"exit code {done.returncode}: {' '.join(words)}\n{done.stderr.strip()[-3000:]}")
            return json.loads(record[0].read_text(encoding="utf-8"))

    def doctor(self):
        done = subprocess.run([str(self.program), "doctor", "--json"], capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else {}


def seconds(turn):
    return turn["prefill_s"] + turn["decode_s"]


def gb(size):
    return f"{size / 1e9:.2f} GB" if size else "-"


def quoted(text):
    shown = " ".join(text.split())[:160].replace("|", "\\|").replace("`", "'")
    return f"`{shown}`" if shown else "(empty)"


class Acceptance:
    def __init__(self, host, page, random, quicker):
        self.host, self.page, self.random, self.quicker = host, page, random, quicker
        self.peak_host = self.peak_device = 0
        self.identity, self.weights = None, {}

    def chat(self, path, **settings):
        record = self.host.chat(path, **settings)
        self.identity, self.weights = record["run"], record.get("weights", {})
        self.peak_host = max(self.peak_host, record["memory"]["host_peak_bytes"])
        self.peak_device = max(self.peak_device, record["memory"]["device_peak_bytes"])
        turns = record["turns"]
        name = PATHS[path]
        bad = [t["collapse"] for t in turns if t["collapse"]]
        if bad and not self.random:
            self.page.check(False, f"{name}: an answer repeats {bad[0]}")
        return record, turns

    def lengths(self, path):
        name, rows, texts = PATHS[path], [], []
        for most in LENGTHS:
            _, (turn,) = self.chat(path, max_tokens=most, turns=1)
            texts.append(turn["output_ids"])
            rows.append((most, len(turn["output_ids"]), f"{turn['seq_len']} = {turn['context_tokens']}",
                         f"{turn['prefill_s'] * 1e3:.0f} ms", f"{turn['decode_tok_s']:.1f}", quoted(turn["text"])))
            self.page.check(turn["seq_len"] == turn["context_tokens"] and 0 < len(turn["output_ids"]) <= most,
                            f"{name}, max_tokens {most}: an answer, and seqLen == contextTokens")
        self.page.check(all(longer[:len(shorter)] == shorter for shorter, longer in zip(texts, texts[1:])),
                        f"{name}: a longer answer begins as the shorter one (greedy)")
        self.page.lines += [f"### Answers of {', '.join(map(str, LENGTHS))} tokens", ""]
        self.page.table(("max_tokens", "tokens", "seqLen = contextTokens", "prefill", "decode tok/s", "answer"), rows)

    def turns(self, path):
        name = PATHS[path]
        record, turns = self.chat(path, max_tokens=8, turns=3, followup_prompt="continue.")
        lengths = [t["seq_len"] for t in turns]
        wait = record["load_s"] + seconds(turns[0])
        later = max(map(seconds, turns[1:]))
        self.page.check(len(turns) == 3 and lengths == sorted(set(lengths)), f"{name}: seqLen grows with every turn {lengths}")
        self.page.check(all(t["seq_len"] == t["context_tokens"] for t in turns), f"{name}: seqLen == contextTokens in every turn")
        self.page.check(all(t["prefill_tokens"] < turns[0]["prefill_tokens"] for t in turns[1:]),
                        f"{name}: a later turn feeds its own tokens alone")
        self.page.check(later * self.quicker <= wait, f"{name}: a later turn ({later:.2f} s at most) is at least {self.quicker:g} times quicker "
                        f"than the wait for the first answer ({wait:.2f} s with the loading, {seconds(turns[0]):.2f} s without)")
        self.page.lines += ["### Three turns", ""]
        self.page.table(("turn", "tokens fed", "seqLen = contextTokens", "seconds", "decode tok/s", "answer"), [
            (i + 1, t["prefill_tokens"], f"{t['seq_len']} = {t['context_tokens']}", f"{seconds(t):.2f}",
             f"{t['decode_tok_s']:.1f}", quoted(t["text"])) for i, t in enumerate(turns)])

    def continuation(self, path):
        name = PATHS[path]
        _, turns = self.chat(path, max_tokens=12, turns=2, followup_prompt=f'"{CONTINUATION}"')
        self.page.check(len(turns) == 2 and all(t["text"].strip() for t in turns) and turns[1]["seq_len"] > turns[0]["seq_len"],
                        f"{name}: the continuation prompt is answered")
        self.page.lines += ["### The continuation prompt", ""]
        self.page.table(("asked", "answer"), [(f"`{p}`", quoted(t["text"])) for p, t in zip((PROMPT, CONTINUATION), turns)])

    def path(self, path):
        self.peak_host = self.peak_device = 0
        self.page.lines += [f"## The {PATHS[path]}", ""]
        self.lengths(path)
        self.turns(path)
        self.continuation(path)
        run = self.identity
        self.page.lines += [f"Peak memory: host {gb(self.peak_host)}, device {gb(self.peak_device)} (live bytes). "
                            f"Device {run['device']}, {run['dtype']}, {run['compute']}, eval cache {run['eval_cache']}. "
                            f"Weights are held as {gb(self.weights.get('plane_bytes'))} of NVFP4 planes and "
                            f"{gb(self.weights.get('dense_bytes'))} dense.", ""]
        total = self.peak_host + self.peak_device
        self.page.check(0 < total < PREDECESSOR_GB * 1e9,
                        f"{PATHS[path]}: peak memory {gb(total)}, below the predecessor's {PREDECESSOR_GB} GB")


def model_of(args):
    """(folder with config and tokenizer, weights elsewhere or None)"""
    model = Path(args.model).resolve()
    folder = Path(args.config_from).resolve() if args.config_from else model if model.is_dir() else model.parent
    if not model.exists():
        raise SystemExit(f"error: there is no model '{args.model}'")
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise SystemExit(f"error: {folder} has no {name}" + ("" if model.is_dir() else "; name the model's folder with --config-from"))
    return folder, None if folder == model else model


def write(page, target, args, host, started):
    good = all(ok for ok, _ in page.verdicts)
    facts = host.doctor()
    machine = facts.get("machine", {})
    engine = facts.get("engine", {})
    head = [f"# Acceptance: {'passed' if good else 'FAILED'}", "",
            f"`{args.model}`, {started:%Y-%m-%d %H:%M} UTC, Tetrad {facts.get('version', '?')}, config `{Path(args.config).name}`"
            + (f" with `{' '.join(args.set)}`" if args.set else "") + ".", "",
            f"Machine: {machine.get('cpu', {}).get('model', '?')}, {machine.get('cpu', {}).get('cores', '?')} cores, "
            f"{gb(machine.get('memory', {}).get('total_bytes'))}; device {engine.get('device', '?')}; libtorch "
            f"{engine.get('libtorch', '?')}.", ""]
    if args.random:
        head += ["The weights are random: what the answers say means nothing, and repetitions are no fault.", ""]
    verdicts = [f"- {'good' if ok else '**FAILED**'}: {what}" for ok, what in page.verdicts]
    text = "\n".join(head + verdicts + [""] + page.lines)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, target)
    return good


def main():
    parser = argparse.ArgumentParser(prog="accept.sh", description=__doc__.split("\n")[0])
    parser.add_argument("model", help="Hugging Face folder, or a .dat file")
    parser.add_argument("--config-from", metavar="FOLDER", help="where config.json and the tokenizer of a .dat are")
    parser.add_argument("--path", choices=PATHS, action="append", help="only this path (default: both)")
    parser.add_argument("--config", default=ROOT / "configs" / "qwen3-4b.yaml", help="default: configs/qwen3-4b.yaml")
    parser.add_argument("--set", metavar="KEY=VALUE", nargs="+", default=[], help="more settings of the config, such as model.device=cuda:1")
    parser.add_argument("--out", default="acceptance.md", help="the page (default: acceptance.md)")
    parser.add_argument("--host", default=ROOT / "build" / "bin" / "host", help=argparse.SUPPRESS)
    parser.add_argument("--quicker", type=float, default=3, metavar="FACTOR",
                        help="how much quicker a later turn must be than the wait for the first answer (default: 3; 0: only measured)")
    parser.add_argument("--random", action="store_true", help="the weights are random: what the answers say is not judged")
    args = parser.parse_args()
    if not Path(args.host).exists():
        raise SystemExit("error: build/bin/host is missing; run 'make build' first")
    target = Path(args.out).resolve()
    if not target.parent.is_dir():
        raise SystemExit(f"error: the folder of {target} does not exist")
    folder, weights = model_of(args)
    host, page = Host(args, folder, weights), Page()
    started = datetime.datetime.now(datetime.timezone.utc)
    acceptance = Acceptance(host, page, args.random, args.quicker)
    for path in args.path or PATHS:
        try:
            acceptance.path(path)
        except Failed as failure:
            page.check(False, f"{PATHS[path]}: a run did not end well")
            page.lines += ["```", str(failure), "```", ""]
            print(failure, file=sys.stderr)
    good = write(page, target, args, host, started)
    print(f"{'passed' if good else 'FAILED'}: {target}")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            sys.exit(2)
        raise
