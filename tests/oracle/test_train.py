"""`host train` against a training loop in PyTorch: losses and weights of AdamW in float32, step by step; resuming to the bit;
and what is exported is what transformers loads and computes."""
import json
import math
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from conftest import ROOT, random_ids, relative_error
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, CompressedTensorsConfig

# Settings of each optimizer, and the format of its matrices for a model in float32.
OPTIMIZERS = {"adamw": ({"optimizer__plugin": "optim-adamw"}, "fp32"),
              "nvfp4": ({"optimizer__plugin": "optim-adamw-nvfp4", "optimizer__options__planes": 1}, "nvfp4"),
              "nvfp4-hi-lo": ({"optimizer__plugin": "optim-adamw-nvfp4"}, "nvfp4 hi+lo"),
              "int8": ({"optimizer__plugin": "optim-adamw-int8"}, "fp32")}
TEXT = "The quick brown fox jumps over the lazy dog, and then it sleeps in the sun until the evening comes."


class Training:
    """One `host train` run on a text that fits into one window, so that each step sees the same batch."""

    def __init__(self, host, model, **sets):
        self.folder = Path(tempfile.mkdtemp(dir=host.scratch))
        text = self.folder / "data.txt"
        text.write_text(TEXT)
        self.ids = Tokenizer.from_file(str(Path(model) / "tokenizer.json")).encode(TEXT).ids
        values = {"linear.plugin": "backend-bf16", "optimizer.plugin": "optim-adamw", "train.data": json.dumps([str(text)]),
                  "train.rows": 1, "train.width": 160, "train.schedule": "constant", "train.warmup_steps": 0, "train.clip": "none",
                  "train.learning_rate": 1e-3, "train.steps": 5, "train.export_dir": self.folder / "export", "train.export_python": "none",
                  "run.dir": self.folder / "runs", "run.threads": 1}
        values |= {key.replace("__", "."): value for key, value in sets.items()}
        self.done = host.run("train", "--config", ROOT / "configs" / "train-base.yaml", model=model, dtype="float32", sets=values)
        record, = (self.folder / "runs").glob("*/record.json")
        self.record = json.loads(record.read_text())

    def weights(self):
        return load_file(str(self.folder / "export" / "model.safetensors"))


def torch_training(directory, ids, steps=5, lr=1e-3, clip=None, decay=0.0, accumulate=1):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}],
                                  lr=lr, betas=(0.9, 0.95), eps=1e-8)
    tokens, losses = torch.tensor([ids]), []
    for _ in range(steps):
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, model


@pytest.mark.parametrize("preset", ["qwen3-small", "qwen3-tied", "llama-gqa"])
@pytest.mark.parametrize("sets, options", [({}, {}), ({"train__clip": "global_norm", "train__max_norm": 0.5}, {"clip": 0.5}),
                                           ({"train__weight_decay": 0.1}, {"decay": 0.1}),
                                           ({"train__checkpointing": "block", "train__micro_batches": 2}, {}),
                                           ({"train__accumulate_in": "blocks", "train__micro_batches": 2}, {})])
def test_adamw_in_float32(host, random_model, preset, sets, options):
    model = random_model(preset)
    run = Training(host, model, **sets)
    losses, expected = torch_training(model, run.ids, **options)
    assert losses[-1] < losses[0] - 0.1, "nothing is learned"
    assert torch.allclose(torch.tensor(run.record["losses"]), torch.tensor(losses), rtol=2e-4)
    names = dict(expected.named_parameters())
    start = dict(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).named_parameters())
    for name, ours in run.weights().items():
        moved = (names[name] - start[name]).norm()
        assert moved > 0 and (ours - names[name]).norm() / moved < 2e-2, name


@pytest.mark.parametrize("gradients", ["two_phase", "immediate"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_has_the_same_bits(host, random_model, optimizer, gradients):
    model = random_model("qwen3-tied")
    common = OPTIMIZERS[optimizer][0] | {"train__gradients": gradients, "linear__plugin": "backend-nvfp4"}
    if gradients == "immediate":
        common |= {"train__clip": "update_rms", "train__max_norm": 0.9}
    whole = Training(host, model, train__steps=6, **common)
    folder = Path(tempfile.mkdtemp(dir=host.scratch)) / "checkpoints"
    Training(host, model, train__steps=3, train__save_dir=folder, **common)
    rest = Training(host, model, train__steps=6, train__save_dir=folder, train__resume="true", **common)
    assert rest.record["losses"] == whole.record["losses"][3:]
    for name, tensor in whole.weights().items():
        assert torch.equal(tensor, rest.weights()[name]), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_tensor_trains_and_the_export_is_the_model(host, reference, random_model, optimizer):
    model = random_model("qwen3-gqa4")
    settings, matrices = OPTIMIZERS[optimizer]
    run = Training(host, model, linear__plugin="backend-nvfp4", **settings)
    assert run.record["losses"][-1] < run.record["losses"][0]
    table = run.record["parameter_table"]
    proof = run.record["proof"]
    names = {row["name"] for row in table["parameters"]}
    assert names == {row["name"] for row in proof["first"]} == {row["name"] for row in proof["last"]}
    assert proof["unchanged"] == []
    for row in proof["first"]:
        assert row["gradient_norm"] > 0 and row["state_moved"] > 0 and row["relative_change"] > 0, row
    assert {row["w"]["format"] for row in table["parameters"] if len(row["shape"]) == 2} == {matrices}
    # transformers and Tetrad's dense backend read the same model out of the exported folder.
    export = run.folder / "export"
    ids = random_ids(model, 60, seed=9)
    assert relative_error(host.logits(export, ids), reference.logits(export, ids)) < 1e-4


def test_finish_makes_a_hi_model_and_exports_what_was_trained(host, reference, random_model):
    """The last steps train hi alone: its loss is what the log says, what the run evaluates, and what the export computes."""
    model = random_model("qwen3-gqa4")
    folder = Path(tempfile.mkdtemp(dir=host.scratch))
    text = folder / "data.txt"
    text.write_text(TEXT)
    common = {"linear__plugin": "backend-nvfp4", "optimizer__plugin": "optim-adamw-nvfp4", "train__eval_data": text}
    run = Training(host, model, train__steps=6, train__finish__steps=2, **common)
    scores = {e["when"]: e["loss"] for e in run.record["evaluations"]}
    assert run.record["result"]["forward"] == "hi"
    losses = run.record["losses"]
    assert scores["before, as hi+lo"] == pytest.approx(losses[0], rel=1e-6)
    assert scores["finish begins, as hi"] == pytest.approx(losses[4], rel=1e-6)
    assert abs(scores["finish begins, as hi+lo"] - losses[4]) > 1e-4, "the two readings are one"
    assert scores["after, as hi"] < losses[4] and scores["after, as hi"] != scores["after, as hi+lo"]
    # The same run without the finish is the same until it begins.
    plain = Training(host, model, train__steps=6, **common)
    assert plain.record["losses"][:4] == losses[:4] and plain.record["losses"][4] != losses[4]
    # The export is hi: the same perplexity on both paths, and in transformers.
    export = run.folder / "export"
    for path in ("training", "bridge"):
        found = host.perplexity(export, text, sets={"path": path})
        assert found["scored_tokens"] == run.record["evaluations"][-1]["tokens"], found
        assert found["nll_per_token"] == pytest.approx(scores["after, as hi"], rel=1e-5), path
    ids = torch.tensor([run.ids])
    with torch.no_grad():
        assert reference.model(export)(ids, labels=ids).loss.item() == pytest.approx(scores["after, as hi"], rel=1e-5)
    # A block of hi codes has few values: every one is a multiple of half a block scale, at most six of them.
    for name, tensor in run.weights().items():
        if tensor.dim() == 2 and "embed" not in name:
            blocks = tensor.reshape(-1, 16).abs()
            assert max(len(set(block.tolist())) for block in blocks[:200]) <= 8, name


def test_a_finish_is_begun_once_also_by_a_run_that_is_resumed_there(host, random_model):
    """Planes are encoded anew where it begins, and its own learning rate holds from there on."""
    model = random_model("qwen3-gqa4")
    common = {"linear__plugin": "backend-nvfp4", "optimizer__plugin": "optim-adamw-nvfp4", "train__steps": 6, "train__finish__steps": 2,
              "train__finish__learning_rate": 3e-3, "train__save_every": 2, "train__keep_last": 9}
    folder = Path(tempfile.mkdtemp(dir=host.scratch)) / "checkpoints"
    whole = Training(host, model, train__save_dir=folder, **common)
    assert "step 5 on the hi plane alone is the model; planes were encoded anew" in whole.done.stderr
    assert [line.split(" lr ")[1].split()[0] for line in whole.done.stderr.splitlines() if " lr " in line] == ["0.001"] * 4 + ["0.003"] * 2
    for step in (4, 2):
        for later in folder.glob("step-*"):
            if int(later.name.split("-")[1]) > step:
                shutil.rmtree(later)
        (folder / "latest").write_text(f"step-{step:08}\n")
        rest = Training(host, model, train__save_dir=folder, train__resume="true", **common)
        assert rest.record["losses"] == whole.record["losses"][step:]
        for name, tensor in whole.weights().items():
            assert torch.equal(tensor, rest.weights()[name]), name


@pytest.mark.parametrize("sets, wanted", [
    ({"train__finish__steps": 9}, "more than the 5 steps"),
    ({"train__finish__steps": 1, "optimizer__options__planes": 1}, "no parameter has a lo plane"),
    ({"train__finish__steps": 1, "linear__options__forward": "hi"}, "train.finish makes a hi model"),
    ({"train__gradients": "immediate", "train__clip": "global_norm"}, "before the norm over all of them is known"),
])
def test_settings_that_make_no_sense_are_refused(host, random_model, sets, wanted):
    with pytest.raises(AssertionError, match=f"exit 2, not 0(.|\\n)*{wanted}"):
        Training(host, random_model("qwen3-gqa4"), linear__plugin="backend-nvfp4", optimizer__plugin="optim-adamw-nvfp4", **sets)


@pytest.mark.parametrize("preset", ["qwen3-gqa4", "qwen3-tied"])
@pytest.mark.parametrize("what, finish", [("tetrad", 0), ("tetrad", 2), ("compressed-tensors", 2), ("compressed-tensors", 0)])
def test_planes_are_exported_as_they_are_stored(host, reference, random_model, preset, what, finish):
    """Perplexity of the export on both paths, and in transformers, is the trained model's; hi + lo in one plane is said to differ."""
    model = random_model(preset)
    folder = Path(tempfile.mkdtemp(dir=host.scratch))
    text = folder / "data.txt"
    text.write_text(TEXT)
    run = Training(host, model, linear__plugin="backend-nvfp4", optimizer__plugin="optim-adamw-nvfp4", train__eval_data=text,
                   train__steps=5, train__finish__steps=finish, train__export=what, train__save_dir=folder / "save",
                   train__self_test='["who are you"]', train__self_test_tokens=4)
    export, cut = run.record["export"], what == "compressed-tensors" and finish == 0
    loss = run.record["evaluations"][-1]["loss"]
    check = export["check"]
    assert check["tokens"] == len(run.ids) - 1 and check["live_perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
    assert export["changes_the_model"] == cut and ("the hi plane alone, another model" in run.done.stderr) == cut
    assert [row["path"] for row in check["paths"]] == ["training", "bridge"]
    for row in check["paths"]:
        if cut:
            assert row["kl"] > 1e-6
        else:
            assert row["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4) and abs(row["kl"]) < 1e-7, row
            assert row["answers_same"] == row["answers"] == 1
    # The planes are those of the checkpoint, to the bit.
    state = folder / "save" / (folder / "save" / "latest").read_text().strip() / "weights.safetensors"
    with safe_open(run.folder / "export" / "model.safetensors", "pt") as ours, safe_open(state, "pt") as stored:
        names, suffix = set(ours.keys()), ".codes" if what == "tetrad" else ""
        name = "model.layers.1.mlp.up_proj.weight"
        codes = ours.get_tensor(name + suffix if suffix else name.replace(".weight", ".weight_packed"))
        assert torch.equal(codes, stored.get_tensor(name + ".codes"))
        assert (name + ".lo_codes" in names) == (what == "tetrad" and finish == 0)
    if what == "compressed-tensors":
        ids = torch.tensor([run.ids])
        with torch.no_grad():
            # compressed-tensors decodes to bfloat16, which is exact: the global scales are powers of two.
            loaded = AutoModelForCausalLM.from_pretrained(run.folder / "export", dtype=torch.float32,
                                                          quantization_config=CompressedTensorsConfig(dequantize=True))
            theirs = loaded.eval()(ids, labels=ids).loss.item()
        assert theirs == pytest.approx(math.log(check["paths"][0]["perplexity"]), rel=1e-4)


def test_an_export_without_planes_is_refused_before_training(host, random_model):
    with pytest.raises(AssertionError, match="exit 2, not 0(.|\\n)*no matrix is trained in NVFP4 planes"):
        Training(host, random_model("qwen3-gqa4"), linear__plugin="backend-nvfp4", train__export="tetrad")


def test_an_answer_that_the_export_has_wrong_ends_with_exit_code_1(host, random_model):
    """hi + lo cut to one plane is another model: right answers that it loses are an error, unless that is allowed."""
    common = {"linear__plugin": "backend-nvfp4", "optimizer__plugin": "optim-adamw-nvfp4", "train__export": "compressed-tensors",
              "train__steps": 3, "train__learning_rate": 2e-3, "train__self_test": '["who are you"]', "train__self_test_tokens": 24}
    model = random_model("qwen3-tied")
    seen = Training(host, model, **common).record
    live = seen["self_test"]["after"][0]["answer"]
    cut = seen["export"]["check"]["paths"][0]["self_test"][0]["answer"]
    assert live != cut, "the cut changes nothing, and the test tests nothing"
    start = next(i for i in range(len(live)) if live[i] != (cut + " " * len(live))[i])
    part = live[start:] if live[start:] not in cut else live
    common |= {"train__self_test_expect": json.dumps([part], ensure_ascii=False)}
    with pytest.raises(AssertionError, match="exit 1, not 0(.|\\n)*is answered right by the trained model and wrong by the export"):
        Training(host, model, **common)
    allowed = Training(host, model, train__export_allow_drift="true", **common)
    assert "is answered right by the trained model and wrong by the export" in allowed.done.stderr
    assert allowed.record["self_test"]["after"][0]["right"] is True


def test_transformers_reads_the_export_inside_the_run(host, random_model):
    common = {"linear__plugin": "backend-nvfp4", "optimizer__plugin": "optim-adamw-nvfp4", "train__self_test": '["who are you"]',
              "train__self_test_tokens": 12, "train__steps": 3, "train__export_python": sys.executable}
    for more in ({"train__export": "dense"}, {"train__export": "compressed-tensors", "train__finish__steps": 1}):
        check = Training(host, random_model("qwen3-tied"), **common, **more).record["export"]["check"]
        row = check["paths"][-1]
        assert [each["path"] for each in check["paths"]] == ["training", "bridge", "transformers"] and row["checked"], row
        assert row["perplexity"] == pytest.approx(check["live_perplexity"], rel=1e-4) and abs(row["kl"]) < 1e-6
        assert row["tokens"] == check["tokens"] and row["answers"] == row["answers_same"] == 1
    row = Training(host, random_model("qwen3-tied"), **common, train__export="tetrad").record["export"]["check"]["paths"][-1]
    assert row == {"path": "transformers", "checked": False, "reason": "it does not know Tetrad's planes"}


@pytest.mark.parametrize("program, reason", [("/no/such/python", "cannot be started"), ("/bin/false", "transformers failed"),
                                             ("printf", "has no transformers that can read it")])
def test_a_python_without_transformers_is_said(host, random_model, tmp_path, program, reason):
    if program == "printf":  # a Python that lacks the package
        program = tmp_path / "python"
        program.write_text("#!/bin/sh\necho \"No module named 'transformers'\" >&2\nexit 3\n")
        program.chmod(0o755)
    run = Training(host, random_model("qwen3-tied"), train__export_python=program, train__steps=1)
    assert "[export] transformers: not checked: " in run.done.stderr and reason in run.done.stderr
    row = run.record["export"]["check"]["paths"][-1]
    assert row["checked"] is False and reason in row["reason"]


def test_the_log_line_and_the_metrics_have_the_share_of_the_roofline(host, random_model):
    run = Training(host, random_model("qwen3-tied"), train__gradients="immediate", train__clip="update_rms", train__steps=2)
    assert re.search(r"\[train\] step 2/2 loss [\d.]+ lr .* rms [\d.]+ \(\d+ of \d+ clipped\) tok/s \d+ roof \d+ % mem .* left", run.done.stderr)
    assert run.record["roofline"]["flops_per_second"] > 1e8 and "\r" not in run.done.stderr and "[###" not in run.done.stderr
    lines = [json.loads(line) for line in next((run.folder / "runs").glob("*/metrics/metrics.jsonl")).read_text().splitlines()]
    for name in ("loss", "lr", "grad_norm", "tokens_per_second", "roofline_share", "memory_bytes", "update_rms_largest"):
        assert lines[-1][f"train/{name}"] > 0, name


def test_a_prefill_beyond_the_guards_limit_is_refused_before_it_begins(host, random_model):
    """The keys and values of a long prompt need more than the limit; a short prompt is answered under the same one."""
    model = random_model("qwen3-tied", heads=8, kv_heads=8, head_dim=128, layers=8, max_positions=32768)
    sets = {"guard.limit_gb": 0.4, "chat.max_tokens": 2}
    host.generate(model, "hello", raw=True, sets=sets)
    done = host.run("generate", *host.config("bf16"), "--prompt", "hello there " * 2000, "--raw", model=model, sets=sets, expect=2)
    assert re.search(r"\[guard\] feeding \d+ tokens needs about .* and the guard's limit is .*: it was not begun", done.stderr), done.stderr


def test_offload_is_refused_on_the_cpu_with_the_reason(host, random_model):
    with pytest.raises(AssertionError, match="exit 3, not 0(.|\\n)*on the CPU they are there already"):
        Training(host, random_model("qwen3-tied"), optimizer__options__offload="pinned")


def test_the_forecast_counts_what_comes_after_the_steps(host, random_model):
    model = random_model("qwen3-tied")
    common = {"linear__plugin": "backend-nvfp4", "optimizer__plugin": "optim-adamw-nvfp4", "train__steps": 1}
    plain = Training(host, model, train__export_dir="null", **common).record["memory_forecast"]["forecast"]["optimizers"]
    whole = Training(host, model, train__self_test='["a"]', train__self_test_tokens=2, **common).record["memory_forecast"]["forecast"]["optimizers"]
    assert plain[0]["workspace"] > 0
    assert plain[0]["check"] == plain[0]["answers"] == 0
    assert whole[0]["answers"] == whole[0]["check"] == 4 * whole[0]["elements"]
    assert whole[0]["peak"] >= whole[0]["loaded"] + whole[0]["workspace"] + whole[0]["check"]
    dry = host.run("train", "--config", ROOT / "configs" / "train-base.yaml", "--dry-run", model=model,
                   sets={"linear.plugin": "backend-nvfp4", "optimizer.plugin": "optim-adamw-nvfp4", "train.data": "[x]"}).stderr
    for optimizer in ("optim-adamw ", "optim-adamw-int8 ", "optim-adamw-nvfp4 "):
        assert re.search(rf"\[forecast\] {optimizer}.* workspace [\d.]+ [KM]iB: peak", dry), dry
