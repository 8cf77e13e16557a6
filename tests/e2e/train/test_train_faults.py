"""Training runs that something happens to: killed, asked to stop, out of disk, handed another run's checkpoint, bad data.
A tiny random model on the CPU; the long version of the first test is bench/train/kill_soak.py."""
import argparse
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("TETRAD_BUILD", ROOT / "build"))
spec = importlib.util.spec_from_file_location("kill_soak", ROOT / "bench/train/kill_soak.py")
kill_soak = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kill_soak)

OPTIMIZERS = ["optim-adamw", "optim-adamw-nvfp4"]


def soak(place, optimizer="optim-adamw", settings=(), **more):
    arguments = argparse.Namespace(build=BUILD, kills=0, optimizer=optimizer, device="cpu", longest=0.4, seed=3, out=None,
                                   set=list(settings), **more)
    return arguments, kill_soak.Soak(arguments, place)


def run(run_soak, name="killed", timeout=120, wrap=()):
    """A whole run; (exit code, what it said)."""
    result = subprocess.run([*wrap, *run_soak.command(name)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=timeout)
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_killed_at_any_moment(tmp_path, optimizer):
    arguments, _ = soak(tmp_path, optimizer)
    arguments.kills = 6
    kill_soak.run(arguments, tmp_path)


def test_asked_to_stop_it_saves_and_goes_on_later(tmp_path):
    _, s = soak(tmp_path, settings=["train.save_every=0"])
    process = s.start("killed")
    s.wait_for_step("killed", process)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0  # it ended as asked
    log = (tmp_path / "killed.log").read_text()
    step = json.loads((s.latest("killed") / "state.json").read_text())["step"]
    assert f"[train] step {step}/" in log and f"[train] step {step + 1}/" not in log
    _, s2 = soak(tmp_path, settings=[f"train.steps={step + 3}", "train.save_every=0"])
    code, said = run(s2)
    assert code == 0, said
    assert f"going on after step {step}" in said and f"step {step + 3}/{step + 3}" in said


def test_the_guards_soft_stage_saves_and_goes_on(tmp_path):
    """Memory passes the soft limit at once; the answer comes at the end of the first step, and changes no number."""
    settings = ["train.steps=4", "train.save_every=0", "train.keep_last=9"]
    _, s = soak(tmp_path, settings=[*settings, "guard.limit_gb=4", "guard.soft_gb=0.03", "guard.poll_secs=0.05"])
    code, said = run(s)
    assert code == 0, said
    assert "[guard] soft limit passed" in said and "the engine is asked to give memory back" in said, said
    answer, = [line for line in said.splitlines() if "soft stage: the engine gave back" in line]
    assert "train.checkpointing block" in answer and "step 1 saved" in answer, answer
    assert (tmp_path / "killed" / "step-00000001").is_dir()
    _, quiet = soak(tmp_path, settings=settings)
    assert run(quiet, "quiet")[0] == 0
    assert kill_soak.content(s.latest("killed")) == kill_soak.content(quiet.latest("quiet"))


def test_what_is_ended_after_the_soft_stage_goes_on_from_what_it_saved(tmp_path):
    settings = ["train.steps=100000", "train.save_every=0", "guard.limit_gb=4", "guard.soft_gb=0.05", "guard.poll_secs=0.05"]
    _, s = soak(tmp_path, settings=settings)
    process = s.start("killed")
    log = tmp_path / "killed.log"
    end = time.monotonic() + 60
    while "soft stage: the engine gave back" not in log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    s.kill(process, "both")
    said = log.read_text()
    assert said.count("[guard] soft limit passed") == 1, said
    step = json.loads((s.latest("killed") / "state.json").read_text())["step"]
    _, s2 = soak(tmp_path, settings=[f"train.steps={step + 2}", "train.save_every=0"])
    code, said = run(s2)
    assert code == 0 and f"going on after step {step}" in said, said


def test_a_run_that_would_pass_the_limit_is_refused_with_both_numbers(tmp_path):
    _, s = soak(tmp_path, settings=["guard.limit_gb=0.4"])
    code, said = run(s)
    assert code == 1, said
    assert re.search(r"the run needs about [0-9.]+ [MG]iB, more than the guard's limit \(410 MiB\)", said), said
    assert "[train] optimizer" not in said and not (tmp_path / "killed").exists()


def test_another_runs_checkpoint_is_refused(tmp_path):
    _, s = soak(tmp_path, settings=["train.steps=2"])
    assert run(s)[0] == 0
    before = kill_soak.content(s.latest("killed"))
    (tmp_path / "pairs.tsv").write_text("other\tdata\n")
    code, said = run(s)
    assert code == 1 and "data: this run has" in said, said
    for settings, wanted in [(["train.resume=false"], "train.resume"), 
                             (["optimizer.plugin=optim-adamw-nvfp4"], "optimizer: this run has")]:
        _, other = soak(tmp_path, settings=settings)
        code, said = run(other)
        assert code in (1, 2) and wanted in said, said
    assert kill_soak.content(s.latest("killed")) == before


def test_two_runs_do_not_share_a_folder(tmp_path):
    _, s = soak(tmp_path)
    first = s.start("killed")
    s.wait_for_step("killed", first)
    code, said = run(s)
    s.kill(first, "both")
    assert code == 1 and "another run is saving its checkpoints here" in said, said


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path):
    _, s = soak(tmp_path, settings=["train.keep_last=1000", "train.steps=1000"])
    disk = tmp_path / "killed"
    disk.mkdir()
    # A file system of two megabytes that only this run sees; what is on it is looked at from inside.
    script = ('mount -t tmpfs -o size=2m none "$1" || exit 77; shift; "$@"; code=$?; '
              f'"{s.host}" checkpoints verify "{disk}" || exit 78; exit $code')
    wrap = ["unshare", "-m", "sh", "-c", script, "sh", str(disk)]
    try:
        code, said = run(s, wrap=wrap)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if code in (77, 1) and "tmpfs" in said or "unshare" in said:
        pytest.skip("file systems cannot be mounted here")
    assert code == 1, said
    assert "could not be saved" in said and "No space left on device" in said
    assert "the last good checkpoint is" in said and ", latest" in said and "damaged" not in said


def test_bad_lines_end_the_run_or_are_left_out(tmp_path):
    for policy in ("stop", "skip"):
        _, s = soak(tmp_path, settings=[f"train.on_bad_line={policy}", "train.steps=1"])
        (tmp_path / "pairs.tsv").write_text("who\tme\n\nno tab\nhello\tyes\n")
        code, said = run(s)
        if policy == "stop":
            assert code == 2 and "2 lines cannot be used" in said and "line 3: there is no tab" in said, said
        else:
            assert code == 0 and "2 left out (line 2: it is empty; ...)" in said, said
    (tmp_path / "pairs.tsv").write_text("你是誰\t我是小四\n說\t什麼\n" * 3, encoding="big5")
    code, said = run(s)
    assert code == 2 and "iconv -f BIG5 -t UTF-8" in said, said


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
