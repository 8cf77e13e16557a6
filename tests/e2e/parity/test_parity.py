"""`host parity` with the real engine and tiny random models."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("TETRAD_BUILD", ROOT / "build"))
HOST = str(BUILD / "bin" / "host")
sys.path.insert(0, str(ROOT / "tests" / "oracle"))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # on a busy machine, waiting threads cost the working ones
import make_random_model  # noqa: E402
import make_tiny_tokenizer  # noqa: E402

pytestmark = pytest.mark.skipif(not (BUILD / "bin" / "tetrad-engine").exists(), reason="the engine is not built")

BASE = """
task: parity
model: {{path: {model}, device: cpu}}
path: training
linear: {{plugin: backend-bf16}}
kv_cache: {{plugin: kvc-persistent}}
run: {{dir: {place}/runs, threads: 1}}
parity:
  prompts: [hello there, go on]
  max_tokens: 6
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    config = make_random_model.make_model(folder / "model", preset="qwen3-small", seed=5)
    make_tiny_tokenizer.write(folder / "model", config["vocab_size"])
    return folder


def write(place, name, more="", model="model"):
    file = place / name
    file.write_text(BASE.format(model=place / model, place=place) + more)
    return str(file)


def parity(*words, code=0, cwd=None, timeout=240):
    done = subprocess.run([HOST, "parity", *map(str, words)], capture_output=True, text=True, timeout=timeout, cwd=cwd,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done


def arms_of(report):
    return {arm["label"]: arm for arm in report["arms"]}


MIXED = """
  text: {text}
  window: 64
  sweep:
    include:
      - {{label: whole, parity.feed: whole}}
      - {{label: by tokens, parity.feed: tokens}}
      - {{label: gone, linear.plugin: backend-gone}}
      - {{label: too short, model.max_context: 20}}
"""


@pytest.fixture(scope="module")
def mixed(place):
    """A sweep with a good arm, one whose plugin is missing and one that fails while it runs."""
    (place / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 10)
    config = write(place, "mixed.yaml", MIXED.format(text=place / "text.txt"))
    done = parity("--config", config, "--out", place / "mixed", "--json", code=1)
    return done, json.loads(done.stdout), place / "mixed"


def test_a_failed_arm_is_a_row_and_not_the_end(mixed):
    done, report, folder = mixed
    arms = arms_of(report)
    assert [arm["verdict"]["word"] for arm in report["arms"]] == ["reference", "pass", "failed", "failed"]
    assert "backend-gone" in arms["gone"]["error"] and arms["too short"]["error"]
    assert report["verdict"]["exit_code"] == 1
    assert arms["by tokens"]["against_reference"]["top1_agreement"] == 1
    assert "[parity] arm 4/4 too short ... failed with exit code" in done.stderr
    plan = json.loads((folder / "plan.json").read_text())
    assert [arm["folder"] for arm in plan["arms"]] == ["arms/00-whole", "arms/01-by-tokens", "arms/02-gone",
                                                      "arms/03-too-short"]
    assert plan["arms"][1]["differs"] == [{"key": "parity.feed", "a": "whole", "b": "tokens", "swept": True}]
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"


def test_shown_again_in_every_form(mixed, place):
    _, report, folder = mixed
    assert json.loads(parity("show", folder, "--json").stdout) == report
    assert "by tokens" in parity("show", folder / "report.json").stdout
    assert "by tokens" in parity("show", folder, "--lang", "zh-TW").stdout
    parity("show", folder, "--html", place / "page.html", "--csv", place / "table.csv")
    assert "by tokens" in (place / "page.html").read_text() and "by tokens" in (place / "table.csv").read_text()
    assert json.loads(parity("compare", folder, folder, "--json").stdout)["regressions"] == []


def test_a_report_that_was_cut_short_or_altered_is_refused(mixed, place):
    _, _, folder = mixed
    text = (folder / "report.json").read_text()
    for broken in [text[:len(text) // 2], text[:-3], text.replace('"pass"', '"fail"', 1), ""]:
        file = place / "broken.json"
        file.write_text(broken)
        done = parity("show", file, code=2)
        assert "broken.json" in done.stderr and done.stdout == ""
    assert "not there" in parity("show", place / "not there", code=2).stderr


def test_resume_keeps_what_is_done_and_tries_again_what_failed(mixed, place):
    _, report, folder = mixed
    again = place / "again"
    shutil.copytree(folder, again)
    before = (again / "arms/01-by-tokens/arm.json").stat().st_mtime_ns
    done = parity("--resume", again, "--json", code=1)
    assert "arm 2/4 by tokens ... done before" in done.stderr and "arm 4/4 too short ... failed" in done.stderr
    assert (again / "arms/01-by-tokens/arm.json").stat().st_mtime_ns == before
    assert [a["verdict"]["word"] for a in json.loads(done.stdout)["arms"]] == ["reference", "pass", "failed", "failed"]
    # An arm whose files were cut short is run again.
    logits = again / "arms/01-by-tokens/logits.safetensors"
    logits.write_bytes(logits.read_bytes()[:-100])
    assert "arm 2/4 by tokens ... done before" not in parity("--resume", again, code=1).stderr
    assert logits.stat().st_size == (folder / "arms/01-by-tokens/logits.safetensors").stat().st_size


def test_resume_refuses_what_is_no_plan_or_another_one(mixed, place):
    _, _, folder = mixed
    broken = place / "broken"
    shutil.copytree(folder, broken)
    plan = (broken / "plan.json").read_text()
    (broken / "plan.json").write_text(plan[:len(plan) // 2])
    assert "plan.json" in parity("--resume", broken, code=2).stderr
    assert "plan.json" in parity("--resume", place, code=2).stderr
    changed = place / "changed"
    shutil.copytree(folder, changed)
    (changed / "arms/00-whole/arm.json").unlink()
    text = (place / "mixed.yaml").read_text()
    try:
        (place / "mixed.yaml").write_text(text.replace("max_tokens: 6", "max_tokens: 7"))
        said = parity("--resume", changed, code=1).stderr
    finally:
        (place / "mixed.yaml").write_text(text)
    assert "no longer what was planned: parity.max_tokens was 6 and is 7" in said


def test_far_too_many_arms_are_refused_without_making_them(place):
    config = write(place, "many.yaml")
    ten = ",".join(map(str, range(1, 11)))
    sweeps = [f"{key}={ten}" for key in ["run.threads", "chat.seed", "model.prefill_chunk", "model.max_context"]]
    start = time.monotonic()
    done = parity("--config", config, "--sweep", *sweeps, code=2)
    assert "10000 arms" in done.stderr and "--yes" in done.stderr
    more = [f"{key}={ten}" for key in ["parity.layer_tokens", "parity.top_k", "parity.window", "parity.text_tokens",
                                       "parity.repeats"]]
    done = parity("--config", config, "--yes", "--sweep", *sweeps, *more, code=2)
    assert "1000000000 arms" in done.stderr and "at most 100000" in done.stderr
    assert time.monotonic() - start < 60  # nothing was made: both take milliseconds
    assert not (place / "runs").exists()


@pytest.mark.parametrize("more, words, code, wanted", [
    ("", [], 2, "one arm alone cannot be compared"),
    ("  sweep: {matrix: {paht: [a, b]}}\n", [], 2, "unknown key 'paht'; did you mean 'path'?"),
    ("  sweep: {matrix: {path: [training, sideways]}}\n", [], 2, "'sideways' is not one of training, bridge"),
    ("  sweep: {matrix: {path: [training, bridge]}}\n", ["--set", "parity.text=EMPTY"], 2, "is empty"),
    ("  sweep: {matrix: {path: [training, bridge]}}\n", ["--text", "GONE"], 2, "is not a file that can be read"),
    ("  sweep: {matrix: {path: [training, bridge]}}\n  reference: none\n", [], 2, "no arm is called 'none'"),
    ("  sweep: {matrix: {linear.plugin: [backend-gone, backend-bf16]}}\n", [], 3, "the reference arm"),
    ("  sweep: {matrix: {linear.plugin: [backend-gone, backend-away]}}\n", [], 3, "no arm can be run"),
    ("  sweep: {include: [{}, {parity.logits_file: gone.safetensors}]}\n", [], 2, "write_transformers_logits.py"),
    ("  sweep: {matrix: {parity.train_steps: [0, 2]}}\n", [], 2, "cannot be compared"),
    ("  sweep: {matrix: {path: [training, bridge]}}\n", ["--out", "FULL"], 2, "is there already"),
])
def test_what_is_wrong_is_said_before_anything_runs(place, more, words, code, wanted):
    config = write(place, "wrong.yaml", more)
    (place / "empty.txt").write_text(" \n\n")
    words = [w.replace("EMPTY", str(place / "empty.txt")).replace("GONE", str(place / "gone.txt"))
             .replace("FULL", str(place)) for w in words]
    done = parity("--config", config, *words, code=code)
    assert wanted in done.stderr and done.stdout == ""
    assert not (place / "runs").exists()


def test_arms_with_other_tokenizers_are_not_comparable(place):
    other = place / "other"
    config = make_random_model.make_model(other, preset="qwen3-small", seed=5, vocab=200)
    make_tiny_tokenizer.write(other, config["vocab_size"])
    a, b = write(place, "a.yaml"), write(place, "b.yaml", model="other")
    report = json.loads(parity("--config", a, "--config", b, "--out", place / "tokenizers", "--json", code=2).stdout)
    arm = arms_of(report)["b"]
    assert arm["verdict"]["word"] == "not_comparable"
    assert "tokenizer" in json.dumps(arm["verdict"]["reasons"])


LONG = """
  iterations: 40
  sweep: {matrix: {parity.feed: [tokens, "chunk:1", "chunk:2"]}}
"""


def start(*words):
    return subprocess.Popen([HOST, "parity", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            stdin=subprocess.DEVNULL, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


def wait_for(what, process, seconds=120):
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_at_once_and_resumed(place):
    folder = place / "killed"
    process = start("--config", write(place, "long.yaml", LONG), "--out", folder)
    first = folder / "arms/00-tokens/arm.json"
    wait_for(lambda: first.exists() and (folder / "arms/01-chunk-1").exists(), process)
    assert "another command works in" in parity("--resume", folder, code=2).stderr
    process.kill()
    process.communicate()
    assert not (folder / "report.json").exists()
    assert "host parity --resume" in parity("show", folder, code=2).stderr
    before = first.stat().st_mtime_ns
    done = parity("--resume", folder, "--json")
    assert "arm 1/3 feed=tokens ... done before" in done.stderr and first.stat().st_mtime_ns == before
    assert [arm["verdict"]["word"] for arm in json.loads(done.stdout)["arms"]] == ["reference", "pass", "pass"]


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(place):
    folder = place / "interrupted"
    process = start("--config", write(place, "long.yaml", LONG), "--out", folder)
    wait_for(lambda: (folder / "arms/01-chunk-1/engine.log").exists(), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == "" and "[parity] 1 of 3 arms are done; go on with: host parity --resume" in err
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert not (folder / "arms/01-chunk-1/arm.json").exists()
    parity("--resume", folder)
    assert json.loads((folder / "status.json").read_text())["state"] == "ok"


def test_a_file_of_logits_is_an_arm(place):
    config = write(place, "plain.yaml")
    file = place / "theirs.safetensors"
    subprocess.run([HOST, "logits", "--config", config, "--ids", ",".join(str(10 + i) for i in range(24)), "--out", str(file),
                    "--set", "run.dir=null"], check=True, capture_output=True, timeout=120)
    sweep = """
  sweep:
    include:
      - {{label: theirs, parity.logits_file: {file}}}
      - {{label: ours}}
      - {{label: by tokens, parity.feed: tokens}}
"""
    config = write(place, "file.yaml", sweep.format(file=file))
    report = json.loads(parity("--config", config, "--out", place / "file", "--json").stdout)
    arms = arms_of(report)
    assert [arm["verdict"]["word"] for arm in report["arms"]] == ["reference", "pass", "pass"]
    assert arms["ours"]["against_reference"]["top1_agreement"] == 1
    assert json.loads((place / "file/script.json").read_text())["ids"] == [10 + i for i in range(24)]
    # As another arm its ids must be the reference's script, and a file that is cut short is one row's error.
    done = parity("--config", config, "--set", "parity.reference=ours", "--out", place / "file2", "--json", code=1)
    assert "are not the" in arms_of(json.loads(done.stdout))["theirs"]["error"]
    file.write_bytes(file.read_bytes()[:-8])
    done = parity("--config", config, "--set", "parity.reference=ours", "--out", place / "file3", "--json", code=1)
    assert "theirs.safetensors" in arms_of(json.loads(done.stdout))["theirs"]["error"]


def test_an_arm_may_be_compared_with_another_than_the_reference(place):
    config = write(place, "pairs.yaml", """
  sweep:
    include:
      - {label: bf16}
      - {label: fp32, model.dtype: float32, parity.against: fp32}
      - {label: fp32 from bf16, model.dtype: float32}
      - {label: fp32 by tokens, model.dtype: float32, parity.feed: tokens, parity.against: fp32}
""")
    arms = arms_of(json.loads(parity("--config", config, "--out", place / "pairs", "--json").stdout))
    assert arms["fp32 by tokens"]["against"] == "fp32" and arms["fp32"]["against"] is None
    assert arms["fp32"]["verdict"]["word"] == "reference" and arms["fp32"]["against_reference"] is None
    near, far = (arms[a]["against_reference"]["kl_max"] for a in ["fp32 by tokens", "fp32 from bf16"])
    assert near < 1e-6 < far, (near, far)


def test_the_task_of_a_config_and_the_list_of_runs(place):
    config = write(place, "task.yaml", "  sweep: {matrix: {parity.feed: [whole, tokens]}}\n")
    done = subprocess.run([HOST, "--config", config, "--set", f"run.dir={place}/listed"], capture_output=True, text=True,
                          timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    folder, = (place / "listed").iterdir()
    assert folder.name.endswith("-task-parity")
    runs = json.loads(subprocess.run([HOST, "runs", "list", "--dir", str(place / "listed"), "--json"], check=True,
                                     capture_output=True, text=True).stdout)["runs"]
    assert [(run["task"], run["state"]) for run in runs] == [("parity", "ok")]
    assert "feed=tokens" in parity("show", "latest", "--dir", place / "listed").stdout
