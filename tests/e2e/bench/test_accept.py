"""scripts/accept.sh with a small random model: the page, the verdicts, and that a fault is seen."""
import json
import os
import re
import subprocess
import sys

import dat_format
from conftest import HOST, ROOT, run


def accept(model, out, *more, code=0, host=HOST, quicker=0, settings=("model.device=cpu", "model.max_context=512"), cwd=None):
    return run(ROOT / "scripts" / "accept.sh", model, "--host", host, "--out", out, "--quicker", quicker, *more, "--set", *settings, code=code, cwd=cwd)


def test_a_model_directory_is_accepted(model, tmp_path):
    out = tmp_path / "page.md"
    result = accept(model, out, "--random")
    page = out.read_text()
    assert page.startswith("# Acceptance: passed\n") and result.stdout.startswith("passed: ")
    assert "**FAILED**" not in page
    for heading in ("## The training path", "## The bridge path"):
        part = page.split(heading)[1].split("\n## ")[0]
        for most in (6, 8, 10, 16, 24):
            assert re.search(rf"^\| {most} \| \d+ \| (\d+) = \1 \|", part, re.M)
        assert re.findall(r"^\| ([123]) \| \d+ \| (\d+) = \2 \|", part, re.M)
        assert "continue the previous sentence in one clause." in part and "Peak memory: host " in part
    assert os.listdir(tmp_path) == ["page.md"]


def test_a_dat_is_accepted(model, tmp_path):
    dat_format.write_dat(model, tmp_path / "w.dat")
    out = tmp_path / "page.md"
    accept(tmp_path / "w.dat", out, "--config-from", model, "--random", "--path", "bridge")
    page = out.read_text()
    assert page.startswith("# Acceptance: passed\n") and "w.dat" in page and "## The training path" not in page


def fake_host(tmp_path, change):
    """Stands between accept.py and the host, and changes the record of every run."""
    program = tmp_path / "host"
    program.write_text(f"""#!{sys.executable}
import json, pathlib, subprocess, sys
code = subprocess.run([{str(HOST)!r}, *sys.argv[1:]]).returncode
for word in sys.argv:
    if word.startswith("run.dir="):
        for path in pathlib.Path(word[8:]).glob("*/record.json"):
            record = json.loads(path.read_text())
            turns = record["turns"]
            {change}
            path.write_text(json.dumps(record))
sys.exit(code)
""")
    program.chmod(0o755)
    return program


def test_faults_are_seen(model, tmp_path):
    faults = [("turns[0]['seq_len'] -= 1", "seqLen == contextTokens"),
              ("turns[-1]['decode_s'] += 100 * (len(turns) == 3)", "times quicker"),
              ("len(turns) == 3 and turns[-1].update(seq_len=9, context_tokens=9)", "seqLen grows with every turn"),
              ("turns[-1]['text'] = ' ' if len(turns) == 2 else turns[-1]['text']", "the continuation prompt is answered"),
              ("turns[0]['output_ids'] = [len(turns[0]['output_ids'])] * len(turns[0]['output_ids'])", "a longer answer begins"),
              ("record['memory']['host_peak_bytes'] = 45_000_000_000", "peak memory 45"),
              ("turns[0]['collapse'] = '!!!!'", "an answer repeats !!!!")]
    folder = tmp_path / "fake"
    folder.mkdir()
    for change, words in faults:
        out = tmp_path / "page.md"
        # Each fault alone, as far as the random model's own repetitions allow.
        random = [] if "collapse" in change else ["--random"]
        result = accept(model, out, *random, "--path", "bridge", code=1, host=fake_host(folder, change),
                        quicker=3 if "decode_s" in change else 0)
        assert result.stdout.startswith("FAILED: ")
        failed = [line for line in out.read_text().splitlines() if "**FAILED**" in line]
        assert failed and all(words in line for line in failed if random) and any(words in line for line in failed), (change, failed)


def test_a_run_that_fails_is_on_the_page(model, tmp_path):
    out = tmp_path / "page.md"
    accept(model, out, "--random", "--path", "bridge", code=1, settings=("model.device=cpu", "model.max_context=8"))
    page = out.read_text()
    assert page.startswith("# Acceptance: FAILED\n") and "a run did not end well" in page and "[context]" in page


def test_what_is_missing_is_said(model, tmp_path):
    assert "there is no model" in accept(tmp_path / "nothing", tmp_path / "p.md", code=2).stderr
    (tmp_path / "w.dat").write_bytes(b"\0")
    assert "--config-from" in accept(tmp_path / "w.dat", tmp_path / "p.md", code=2).stderr
    assert "run 'make build' first" in accept(model, tmp_path / "p.md", code=2, host=tmp_path / "none").stderr
    assert not (tmp_path / "p.md").exists()
