"""Figures of a parity report against torch, from the same files; the page in a browser where there is one."""
import csv
import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import BUILD
from parity_folder import ParityFolder, typical

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def compare(folder, expect, language="en"):
    done = subprocess.run([BUILD / "tests/parity_report_probe", folder, language], capture_output=True, text=True)
    assert done.returncode == expect, done.stdout + done.stderr
    return json.loads((folder / "report.json").read_text()), done.stdout


def test_figures_are_torchs(tmp_path):
    """Random logits of every size of difference: KL, top-1, p99 and the rest, computed again."""
    folder = ParityFolder(tmp_path, positions=31, vocabulary=1009)
    folder.add("reference", folder.logits)
    for relative in (1e-7, 1e-4, 1e-2, 1.0):
        folder.add(f"noise {relative}", folder.noise(folder.logits, relative), differs=["path"])
    ties = folder.logits.round()
    folder.add("ties", ties, differs=["path"])
    report, _ = compare(folder.write(), 1)
    a = load_file(str(tmp_path / "arms/00/logits.safetensors"))["logits"].double()
    for arm in report["arms"][1:]:
        own = load_file(str(tmp_path / arm["folder"] / "logits.safetensors"))["logits"].double()
        got = arm["against_reference"]
        kl = torch.nn.functional.kl_div(own.log_softmax(-1), a.log_softmax(-1), reduction="none", log_target=True).sum(-1)
        assert torch.tensor(got["kl"], dtype=torch.float64) == pytest.approx(kl, rel=1e-9, abs=1e-13)
        assert got["kl_max"] == pytest.approx(kl.max().item(), rel=1e-9, abs=1e-13)
        assert got["kl_max_position"] == kl.argmax().item() or kl.max() < 1e-12
        assert got["kl_mean"] == pytest.approx(kl.mean().item(), rel=1e-9, abs=1e-13)
        difference = (a - own).abs()
        assert got["max_logit"] == pytest.approx(difference.max().item(), rel=1e-12)
        assert got["mean_logit"] == pytest.approx(difference.mean().item(), rel=1e-12)
        assert got["p99_logit"] == pytest.approx(torch.quantile(difference.flatten(), 0.99).item(), rel=1e-6)
        # A tie on either side is no disagreement.
        rows = torch.arange(len(a))
        same = (a.max(-1).values == a[rows, own.argmax(-1)]) | (own.max(-1).values == own[rows, a.argmax(-1)])
        assert got["agrees"] == same.tolist()
        assert got["top1_agreement"] == pytest.approx(same.double().mean().item())
        first = got["first_divergence"]
        assert (first["position"] if first else -1) == next((i for i, s in enumerate(same.tolist()) if not s), -1)
        if first:
            assert first["own"]["id"] == own[first["position"]].argmax().item()


def test_layers_are_torchs(tmp_path):
    report, text = compare(typical(tmp_path).write(), 1)
    a = load_file(str(tmp_path / "arms/00/layers.safetensors"))
    for arm in report["arms"][1:4]:
        own = load_file(str(tmp_path / arm["folder"] / "layers.safetensors"))
        names = sorted(n for n in a if n != "positions")
        assert [f"{t['layer']:03d}" for t in arm["against_reference"]["layers"]] == [n[:3] for n in names]
        for name, got in zip(names, arm["against_reference"]["layers"]):
            r, o = a[name].double(), own[name].double()
            z = ((o - r) ** 2) / (r ** 2 + r.abs().mean(-1, keepdim=True) ** 2)
            assert got["error"] == pytest.approx(z.mean().sqrt().item(), rel=1e-9)
            assert got["channel"] == pytest.approx(z.mean(0).max().sqrt().item(), rel=1e-9)
            assert got["position"] == pytest.approx(z.mean(1).max().sqrt().item(), rel=1e-9)
            assert got["worst_channel"] == z.mean(0).argmax().item()
    first = report["arms"][3]["against_reference"]["first_layer_beyond"]
    assert (first["layer"], first["tensor"]) == (3, "attention")
    assert report["arms"][2]["against_reference"]["first_layer_beyond"] is None
    assert "layer 3's attention" in text


def test_verdicts_and_csv(tmp_path):
    report, text = compare(typical(tmp_path).write(), 1)
    assert [arm["verdict"]["word"] for arm in report["arms"]] == ["reference", "pass", "pass", "fail", "failed"]
    assert report["self_noise"]["arms"] == 1
    kl = next(c for c in report["arms"][2]["checks"] if c["figure"] == "kl")
    assert kl["source"] == "self-noise" and kl["allowed"] == 2 * report["self_noise"]["kl_max"]
    assert report["arms"][2]["against_reference"]["perplexity_ratio"] == pytest.approx(math.exp(2e-4))
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert [row["arm"] for row in rows] == [arm["label"] for arm in report["arms"]]
    assert float(rows[2]["kl_max"]) == report["arms"][2]["against_reference"]["kl_max"]
    assert rows[4]["error"] == report["arms"][4]["error"]


def test_updates_are_torchs(tmp_path):
    folder = ParityFolder(tmp_path)
    a = {f"w{i}": torch.randn(7, 5 + i, generator=folder.rng) for i in range(4)}
    b = {name: folder.noise(t, 0.2) for name, t in a.items()}
    folder.add("adamw", folder.logits, losses=[3.0, 2.5, 2.25], updates=a)
    folder.add("other", folder.logits, losses=[3.0, 2.6, 2.0], updates=b, differs=["path"])
    report, _ = compare(folder.write(), 0)
    training = report["arms"][1]["against_reference"]["training"]
    for got in training["updates"]:
        r, o = a[got["tensor"]].double().flatten(), b[got["tensor"]].double().flatten()
        assert got["error"] == pytest.approx(((o - r).norm() / r.norm()).item(), rel=1e-9)
        assert got["cosine"] == pytest.approx(torch.nn.functional.cosine_similarity(r, o, dim=0).item(), rel=1e-9)
    assert training["max_relative"] == pytest.approx(0.25 / 2.25)


def test_a_report_cut_short_is_refused(tmp_path):
    folder = typical(tmp_path).write()
    compare(folder, 1)
    logits = folder / "arms/02/logits.safetensors"
    os.truncate(logits, logits.stat().st_size - 4)
    done = subprocess.run([BUILD / "tests/parity_report_probe", folder], capture_output=True, text=True)
    assert done.returncode == 12 and "arms/02/logits.safetensors" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("language", ["en", "zh-TW"])
def test_page_in_a_browser(tmp_path, language):
    """The page as a browser lays it out: nothing wider than a phone, every plot drawn, the text as it was written."""
    folder = typical(tmp_path / "result")
    folder.path.mkdir(exist_ok=True)
    compare(folder.write(), 1, language)
    base = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=3000"]
    # The page itself allows no script, so a frame of 390 pixels around it reports what it measures.
    probe = tmp_path / "probe.html"
    probe.write_text("""<!doctype html><meta charset=utf-8><body><iframe id=f width=390 height=3000 style="border:0"></iframe><script>
        const f = document.getElementById('f');
        f.onload = () => { const d = f.contentDocument, e = d.documentElement;
          const drawn = [...d.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 200).length;
          document.title = 'done'; document.body.append('@@' + JSON.stringify({scroll: e.scrollWidth, plots: drawn,
            all: d.querySelectorAll('svg').length, lang: e.lang, scripts: d.scripts.length, broken: d.querySelectorAll('b > broken, broken').length,
            badge: d.querySelector('h1 .badge').textContent, labels: d.body.textContent.includes('一個有錯的外掛 <broken>')}) + '@@'); };
        f.srcdoc = %s;</script>""" % json.dumps((folder.path / "report.html").read_text()).replace("</", "<\\/"))
    done = subprocess.run([*base, "--dump-dom", probe.as_uri()], capture_output=True, text=True, timeout=120)
    found = [part for part in done.stdout.split("@@") if part.startswith("{") and "scroll" in part]
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    seen = json.loads(found[-1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert seen["scroll"] <= 390, seen
    assert seen["plots"] == 3 and seen["all"] == 6, seen  # KL, layers, speed; each drawn for two widths
    assert seen["scripts"] == 0 and seen["broken"] == 0 and seen["labels"], seen
    assert seen["lang"] == {"en": "en", "zh-TW": "zh-Hant-TW"}[language]
    assert seen["badge"] == {"en": "fail", "zh-TW": "未通過"}[language]
