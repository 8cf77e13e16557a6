"""`host bench`: the record's arithmetic, the three ways to ask for it, and what it refuses."""
import json
import statistics

import pytest
from conftest import HOST, ROOT, run


def bench(model, *words, config="bridge.yaml", sets=(), code=0, command=("bench",), **more):
    return run(HOST, *command, "--config", ROOT / "configs" / config, *words, "--set", f"model.path={model}", "model.device=cpu",
               "run.dir=null", "bench.depths=[40, 0]", "bench.prefill=20", "bench.decode=5", *sets, code=code, **more)


def matrices(model):
    """Elements of what a step multiplies by, and of the norms."""
    from safetensors import safe_open
    tied = json.loads((model / "config.json").read_text())["tie_word_embeddings"]
    linear = norms = head = 0
    with safe_open(model / "model.safetensors", "np") as file:
        for name in file.keys():
            shape = file.get_slice(name).get_shape()
            if len(shape) == 1:
                norms += shape[0]
            elif name == ("model.embed_tokens.weight" if tied else "lm_head.weight"):
                head += shape[0] * shape[1]
            elif name != "model.embed_tokens.weight":
                linear += shape[0] * shape[1]
    return linear, head, norms


@pytest.mark.parametrize("config", ["bridge.yaml", "fp2-model.yaml", "bf16.yaml"])
def test_the_figures_agree_with_each_other(model, config):
    record = json.loads(bench(model, "--json", config=config, sets=["bench.repeats=2"]).stdout)
    linear, head, norms = matrices(model)
    expected = {"bridge.yaml": (linear + head) * 9 // 16 + 2 * norms,  # 4 bits, and 8 for 16 columns
                "fp2-model.yaml": 2 * (linear + head + norms), "bf16.yaml": 2 * (linear + head + norms)}[config]
    assert record["weight_bytes_per_step"] == expected
    rate = record["copy_rate"]["bytes_per_second"]
    assert rate > 1e8 and record["copy_rate"]["threads"] == record["machine"]["threads"] >= 1
    assert [row["depth"] for row in record["rows"]] == [0, 40], "in rising order"
    for row in record["rows"]:
        for phase, tokens, passes in ((row["prefill"], 20, 1), (row["decode"], 5, 5)):
            assert phase["tokens"] == tokens and len(phase["seconds"]) == 2 and min(phase["seconds"]) > 0
            assert phase["median_s"] == pytest.approx(statistics.median(phase["seconds"]))
            assert phase["tok_s"] == pytest.approx(tokens / phase["median_s"])
            assert phase["copy_rate_share"] == pytest.approx(phase["bytes_read"] * passes / phase["median_s"] / rate)
            assert phase["bytes_read"] == expected + row["kv_bytes"]
    # 2 layers, 2 heads of keys and of values, in bfloat16; after the last token of the decode.
    head_dim = json.loads((model / "config.json").read_text())["head_dim"]
    assert [row["kv_bytes"] for row in record["rows"]] == [2 * 2 * 2 * head_dim * 2 * (depth + 6) for depth in (0, 40)]


def test_the_record_says_what_and_where(model, tmp_path):
    out = tmp_path / "bench.json"
    result = bench(model, "--out", out)
    record = json.loads(out.read_text())
    assert record["format"] == "tetrad-bench 1"
    assert record["machine"]["cpu"]["model"] and record["machine"]["memory"]["total_bytes"] > 0
    assert record["versions"]["tetrad"] and record["versions"]["libtorch"] and record["versions"]["commit"]
    assert record["run"]["plugins"]["linear"].startswith("backend-nvfp4 ") and record["run"]["weight_identity"]
    assert record["memory"]["host_peak_bytes"] > 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["depth", "prefill", "tok/s", "copy", "decode", "tok/s", "copy"]
    assert [line.split()[0] for line in lines[1:3]] == ["0", "40"] and lines[3].startswith("copy rate: ")
    assert f"{record['rows'][1]['decode']['tok_s']:.1f}" in lines[2].split()


def test_the_task_of_a_config(model, tmp_path):
    result = bench(model, command=(), sets=["task=bench", f"run.dir={tmp_path / 'runs'}"])
    assert result.stdout.splitlines()[0].split()[0] == "depth"
    record = json.loads(next(tmp_path.glob("runs/*/record.json")).read_text())
    assert len(record["result"]["rows"]) == 2
    listed = json.loads(run(HOST, "runs", "list", "--dir", tmp_path / "runs", "--json").stdout)
    assert "bench" in json.dumps(listed)


def test_a_depth_beyond_the_context_is_refused_before_anything_is_measured(model):
    result = bench(model, sets=["bench.depths=[0, 1010]"], code=2)
    assert "depth 1010 needs a context of 1030 tokens, the limit is 1024" in result.stderr and result.stdout == ""


@pytest.mark.parametrize("wrong", ["bench.depths=[]", "bench.depths=[-1]", "bench.prefill=0", "bench.repeats=0", "bench.depths=[1.5]"])
def test_wrong_settings_are_refused(model, wrong):
    assert wrong.split("=")[0] in bench(model, sets=[wrong], code=2).stderr


def test_without_a_cache_it_measures_the_replay(model):
    rows = json.loads(bench(model, "--json", sets=["kv_cache.plugin=kvc-none", "bench.repeats=1"]).stdout)["rows"]
    assert [row["kv_bytes"] for row in rows] == [0, 0]


def test_a_result_that_cannot_be_written_is_an_error(model):
    with open("/dev/full", "w") as full:
        words = [HOST, "bench", "--config", ROOT / "configs" / "bridge.yaml", "--json", "--set", f"model.path={model}",
                 "model.device=cpu", "run.dir=null", "bench.depths=[0]", "bench.prefill=2", "bench.decode=1", "bench.repeats=1"]
        import subprocess
        done = subprocess.run(list(map(str, words)), stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 1 and "could not be written" in done.stderr
