"""What real runs leave in their folders: every task, both languages, and runs that end badly."""
import json
import subprocess

import pytest
from conftest import BUILD, ROOT

CONFIG = "fp2-model"
PROMPT = "a b c"


@pytest.fixture
def left(host, random_model, tmp_path):
    """left(words, expect=0, **sets) -> (folder, stderr): runs host, which leaves one folder."""
    model = random_model("qwen3-small")

    def run(*words, expect=0, model=model, **sets):
        before = set(tmp_path.glob("*"))
        done = host.run(*words, *host.config(CONFIG), model=model, dtype="bfloat16", expect=expect,
                        sets={"run.dir": tmp_path, "chat.ignore_eos": "true", "chat.max_tokens": 8, "chat.collapse": "flag"} | sets)
        folder, = set(tmp_path.glob("*")) - before
        assert done.stderr.splitlines()[-1] == f"[run] folder: {folder}"
        assert not [f for f in folder.iterdir() if f.name.endswith(".tmp")]
        return folder, done

    return run


def read(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_chat(left):
    folder, done = left(**{"chat.prompt": PROMPT, "chat.turns": 2, "chat.system": "be brief"})
    record, status = read(folder, "record.json"), read(folder, "status.json")
    assert {f.name for f in folder.iterdir()} == {"config.yaml", "config.json", "record.json", "transcript.txt",
                                                  "transcript.jsonl", "status.json", "summary.md"}
    assert (status["state"], status["exit_code"], status["reason"]) == ("ok", 0, "")
    # The guard's peak is what its polls saw; a run as short as this one may end before the second of them.
    assert status["tok_s"] > 0 and status["guard"]["peak_tree_bytes"] > 0
    assert record["run"]["path"] == "training" and record["run"]["weight_identity"].startswith("sampled-sha256:")
    assert record["memory"]["host_peak_bytes"] > 1 << 20
    turns = record["turns"]
    assert [t["prompt"] for t in turns] == [PROMPT, "continue."]
    assert "".join(t["text"] + "\n" for t in turns) == done.stdout

    lines = [json.loads(line) for line in (folder / "transcript.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(m["role"], m["content"]) for m in lines] == [
        ("system", "be brief"), ("user", PROMPT), ("assistant", turns[0]["text"]), ("user", "continue."),
        ("assistant", turns[1]["text"])]
    assert [m["seq_len"] for m in lines if m["role"] == "assistant"] == [t["seq_len"] for t in turns]
    text = (folder / "transcript.txt").read_text(encoding="utf-8")
    assert text == "".join(f"> {t['prompt']}\n{t['text']}\n\n" for t in turns)

    summary = (folder / "summary.md").read_text(encoding="utf-8")
    for n, turn in enumerate(turns, 1):
        assert f"| {n} | {turn['seq_len']} | {turn['context_tokens']} | {turn['prefill_tokens']} |" in summary
    assert record["run"]["weight_identity"] in summary and record["run"]["weight_file"] in summary
    assert "backend-nvfp4" in summary and "| Path | training |" in summary


def test_generate_in_chinese(left):
    folder, done = left("generate", "--prompt", PROMPT, "--json", "--lang", "zh-TW")
    record = read(folder, "record.json")
    assert record["result"] == json.loads(done.stdout)
    assert [t["text"] for t in record["turns"]] == [record["result"]["text"]]
    assert "| 結果 | 成功（結束代碼 0） |" in (folder / "summary.md").read_text(encoding="utf-8")


def test_eval(left, tmp_path_factory):
    text = tmp_path_factory.mktemp("text") / "t.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 20)
    folder, done = left("eval", "--text", text, **{"eval.window": 32})
    result = json.loads(done.stdout)
    assert read(folder, "record.json")["result"] == result
    assert read(folder, "status.json")["tok_s"] == pytest.approx(result["tok_s"])
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert f"| perplexity | {result['perplexity']:.4f} ± " in summary and str(text) in summary


def test_logits(left, tmp_path_factory):
    out = tmp_path_factory.mktemp("logits") / "x.safetensors"
    folder, _ = left("logits", "--ids", "1,2,3", "--out", out)
    result = read(folder, "record.json")["result"]
    assert (result["out"], result["positions"], result["input_ids"]) == (str(out), 3, [1, 2, 3])
    assert f"| file | `{out}` |" in (folder / "summary.md").read_text(encoding="utf-8")


def test_a_turn_that_fails_leaves_the_turns_before_it(left):
    folder, done = left(expect=2, **{"chat.prompt": PROMPT, "chat.turns": 9, "model.max_context": 40})
    record, status = read(folder, "record.json"), read(folder, "status.json")
    assert status["state"] == "failed" and status["exit_code"] == 2
    assert f"error: {status['reason']}" in done.stderr and status["reason"]
    assert record["turns"] and len(record["turns"]) < 9
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert "failed (exit code 2)" in summary and "| 1 | " in summary
    assert (folder / "transcript.jsonl").read_text(encoding="utf-8").count("\n") == 2 * len(record["turns"])


def test_a_run_that_the_guard_kills_says_so(left):
    folder, done = left(expect=124, **{"chat.prompt": PROMPT, "guard.limit_gb": 0.02, "guard.poll_secs": 0.05})
    status = read(folder, "status.json")
    assert status["state"] == "guard" and "limit exceeded" in status["reason"]
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert "ended by the memory guard (exit code 124)" in summary
    # Whichever came first: the limit itself, or that it would be passed before the guard could act.
    assert "rule=tree_limit" in summary or "rule=predicted" in summary


def test_a_model_that_is_not_there_leaves_its_run(left, tmp_path_factory):
    folder, done = left(expect=1, model=tmp_path_factory.mktemp("empty"), **{"chat.prompt": PROMPT})
    assert read(folder, "status.json")["reason"] in done.stderr
    assert not (folder / "record.json").exists()
    shown = subprocess.run([BUILD / "bin" / "host", "runs", "show", folder], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "failed (exit code 1)" in shown.stdout
