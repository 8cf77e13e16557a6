"""bench/train/quality.py with a few steps: arms, readings, resuming, running out of time, the curves."""
import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from conftest import BUILD, HOST, ROOT


def study(folder, text, *more, code=0, arms="fp32,hi+lo+finish"):
    done = subprocess.run([sys.executable, ROOT / "bench/train/quality.py", "scratch", "--host", HOST, "--text", text, "--work", folder / "w",
                           "--seeds", "5", "--steps", "3", "--jobs", "2", "--arms", arms, *map(str, more)],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    pytest.importorskip("tokenizers")
    pytest.importorskip("torch")
    if not (BUILD / "bin" / "tetrad-engine").exists():
        pytest.skip("the engine is not built")
    folder = tmp_path_factory.mktemp("text")
    words = (ROOT / "tests/data/text/wikitext-2-excerpt.txt").read_text()
    (folder / "valid.txt").write_text(words[:60000])
    (folder / "test.txt").write_text(words[60000:70000])
    return folder


def test_a_study_is_made_once_and_summed_up(text, tmp_path):
    out, plot = tmp_path / "o.json", tmp_path / "o.svg"
    study(tmp_path, text, "--within", 0.05, "--out", out, code=1)
    assert not out.exists() and not list(tmp_path.glob("w/scratch/*-5.json")), "nothing half made counts"
    done = study(tmp_path, text, "--out", out, "--plot", plot)
    assert done.stdout.count("\n| ") == 2, done.stdout
    result = json.loads(out.read_text())
    fp32, finish = result["summary"]
    assert result["complete"] and fp32["arm"] == "fp32" and fp32["gap_validation"]["mean"] == 0
    assert set(finish["readings_at_end"]) == {"hi+lo", "hi"} and list(fp32["readings_at_end"]) == ["dense"]
    assert finish["validation_at_end"]["mean"] == finish["readings_at_end"]["hi"]["mean"]
    curve = result["curves"]["fp32"]["5"]
    assert len(curve["losses"]) == 3 and curve["requantised"] > 0 and curve["requantised"] != fp32["validation_at_end"]["mean"]
    assert len([e for e in ET.parse(plot).iter() if e.tag.endswith("polyline")]) == 4
    # What is there is not made again, and is what is read.
    place = tmp_path / "w/scratch/fp32-5.json"
    changed = json.loads(place.read_text())
    changed["losses"] = [7.0] * 3
    place.write_text(json.dumps(changed))
    study(tmp_path, text, "--out", out, "--host", "no-such-program")
    assert json.loads(out.read_text())["summary"][0]["train_loss"]["mean"] == 7.0


def test_a_run_that_fails_is_named_and_the_others_are_kept(text, tmp_path):
    out = tmp_path / "o.json"
    study(tmp_path, text, "--no-requantise", arms="fp32")
    done = study(tmp_path, text, "--no-requantise", "--host", "/bin/false", "--out", out, arms="fp32,hi+lo", code=1)
    assert "hi+lo, seed 5: exit code 1" in done.stderr
    result = json.loads(out.read_text())
    assert not result["complete"] and [r["arm"] for r in result["summary"]] == ["fp32"]


def test_arms_without_their_reference_are_refused(tmp_path):
    assert "--arms needs fp32" in study(tmp_path, tmp_path, arms="hi+lo", code=2).stderr
