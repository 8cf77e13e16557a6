"""What the KV cache is worth on this machine: the prefill of a later turn as a delta (kvc-persistent) beside the replay of the whole
conversation (kvc-none), and the time from the start of the command to the first token.

    .venv/bin/python bench/cpu/turns.py [--turns 4] [--rounds 3]
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT = ("I would like to understand how a river shapes a valley over a long time. Please explain what water does to soft and hard"
          " rock, why some valleys are narrow and others wide, and what happens where the river meets the sea.")


def run(host, config, policy, turns, max_tokens):
    with tempfile.TemporaryDirectory() as folder:
        command = [host, "chat", "--config", ROOT / "configs" / config, "--set", f"kv_cache.plugin={policy}", "--set",
                   f"chat.prompt={PROMPT}", "--set", "chat.followup_prompt=Please go on and give one more example.", "--set",
                   f"chat.turns={turns}", "--set", f"chat.max_tokens={max_tokens}", "--set", "chat.ignore_eos=true", "--set",
                   "chat.collapse=flag", "--set", "model.device=cpu", "--set", f"run.dir={folder}"]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"exit code {done.returncode}\n{done.stderr[-2000:]}")
        record = json.loads(next(pathlib.Path(folder).rglob("record.json")).read_text())
    return record["ttft_s"], [(t["prefill_tokens"], t["context_tokens"], t["prefill_s"]) for t in record["turns"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", type=pathlib.Path, default=ROOT / "build/bin/host")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    result = {}
    for config in ("fp2-model.yaml", "bridge.yaml", "bf16.yaml"):
        rounds = {policy: [] for policy in ("kvc-persistent", "kvc-none")}
        for _ in range(args.rounds):
            for policy, seen in rounds.items():
                seen.append(run(args.host, config, policy, args.turns, args.max_tokens))
        rows = []
        for turn in range(args.turns):
            row = {"turn": turn + 1, "new_tokens": rounds["kvc-persistent"][0][1][turn][0],
                   "context_tokens": rounds["kvc-persistent"][0][1][turn][1]}
            for policy, seen in rounds.items():
                row[policy + "_ms"] = 1e3 * statistics.median(turns[turn][2] for _, turns in seen)
            rows.append(row)
        first = {policy: statistics.median(ttft for ttft, _ in seen) for policy, seen in rounds.items()}
        result[config] = {"first_token_s": first["kvc-persistent"], "turns": rows}
        print(f"{config}: first token after {first['kvc-persistent']:.2f} s", file=sys.stderr)
        for row in rows:
            print(f"  turn {row['turn']}: {row['new_tokens']} new tokens, {row['context_tokens']} at its end: delta "
                  f"{row['kvc-persistent_ms']:.0f} ms, replay {row['kvc-none_ms']:.0f} ms", file=sys.stderr)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
