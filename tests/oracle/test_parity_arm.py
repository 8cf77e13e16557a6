"""One arm of a comparison (engine command `parity`) against transformers: logits and every intermediate tensor in float32
within 1e-4, whatever the feed; perplexity against `host eval`; updates against PyTorch's AdamW; and three backends with one
fault each, whose first wrong tensor and position are those that the fault is in."""
import json
import shutil

import engine_driver
import pytest
import torch
from conftest import BUILD, relative_error
from safetensors.torch import load_file

BROKEN = BUILD / "tests" / "plugins" / "broken"
FEEDS = ["whole", "turns", "tokens", "chunk:7", "off"]
PROMPTS = json.dumps(["Say it.", "Again."])
ANSWER = "No, I shall not say it."


def arm(folder, model, config="bf16", script=None, expect=0, plugin_path=(), **sets):
    """`sets`: config keys with __ for the dot."""
    values = {"model.path": model, "model.dtype": "float32", "parity.prompts": PROMPTS, "parity.max_tokens": 5,
              "parity.continuation": ANSWER}
    values |= {key.replace("__", "."): value for key, value in sets.items()}
    return engine_driver.parity_arm(folder, config, values, script, plugin_path, expect)


def script_ids(folder):
    return json.loads((folder / "script.json").read_text())["ids"]


def shown_by_transformers(model, ids):
    """Every module's output by its name in layers.safetensors, [T, width]."""
    seen = {}

    def keep(name):
        def hook(_module, _inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            seen[name] = output.detach().reshape(len(ids), -1).clone()
        return hook

    handles = [model.model.embed_tokens.register_forward_hook(keep("-01.embed_tokens")),
               model.model.norm.register_forward_hook(keep(f"{len(model.model.layers):03}.norm"))]
    for i, layer in enumerate(model.model.layers):
        for name, module in {"input_layernorm": layer.input_layernorm, "q_proj": layer.self_attn.q_proj,
                             "k_proj": layer.self_attn.k_proj, "v_proj": layer.self_attn.v_proj,
                             "o_proj": layer.self_attn.o_proj, "post_attention_layernorm": layer.post_attention_layernorm,
                             "gate_proj": layer.mlp.gate_proj, "up_proj": layer.mlp.up_proj,
                             "down_proj": layer.mlp.down_proj, "residual": layer}.items():
            handles.append(module.register_forward_hook(keep(f"{i:03}.{name}")))
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    for handle in handles:
        handle.remove()
    return logits, seen


def without_order(name):
    layer, _, tensor = name.partition("/")
    return f"{layer}.{tensor.partition('.')[2]}"


def check_against_transformers(folder, reference, model, tokens):
    ids = script_ids(folder.parent)
    expected, seen = shown_by_transformers(reference.model(model), ids)
    stored = load_file(str(folder / "logits.safetensors"))
    assert stored["input_ids"].tolist() == ids
    assert relative_error(stored["logits"], expected) < 1e-4
    layers = load_file(str(folder / "layers.safetensors"))
    positions = layers.pop("positions").tolist()
    assert positions == list(range(max(0, len(ids) - tokens), len(ids)))
    ours = {without_order(name): rows for name, rows in layers.items()}
    assert len(ours) == len(layers) and seen.keys() <= ours.keys()
    assert {name.partition(".")[2] for name in ours.keys() - seen.keys()} == {"q_rotated", "k_rotated", "attention", "silu_mul"}
    for name, rows in seen.items():
        assert relative_error(ours[name], rows[positions]) < 1e-4, name


@pytest.mark.parametrize("preset", ["qwen3-gqa4", "llama-gqa"])
@pytest.mark.parametrize("feed", FEEDS)
def test_logits_and_layers(tmp_path, reference, random_model, preset, feed):
    model = random_model(preset)
    found = arm(tmp_path / "arm", model, parity__feed=feed, parity__layers="true", parity__layer_tokens=20, parity__iterations=2)
    assert found["status"] == "ok" and found["positions"] == len(script_ids(tmp_path)) and found["feed"] == feed
    assert found["iterations"] == {"count": 2, "equal": True, "first_difference": None}
    check_against_transformers(tmp_path / "arm", reference, model, 20)


def test_the_default_model(tmp_path, host, reference, default_model):
    arm(tmp_path / "arm", default_model, parity__layers="true", parity__layer_tokens=16)
    check_against_transformers(tmp_path / "arm", reference, default_model, 16)
    ids = script_ids(tmp_path)
    assert torch.equal(load_file(str(tmp_path / "arm" / "logits.safetensors"))["logits"].argmax(-1),
                       host.logits(default_model, ids).argmax(-1))


def test_fed_whole_the_logits_are_those_of_host_logits(tmp_path, host, random_model):
    model = random_model("qwen3-small")
    arm(tmp_path / "arm", model, parity__feed="whole")
    ours = load_file(str(tmp_path / "arm" / "logits.safetensors"))["logits"]
    assert torch.equal(ours, host.logits(model, script_ids(tmp_path)))


def test_the_script_of_a_reference_arm(tmp_path, reference, random_model):
    model = random_model("qwen3-tied")
    first = arm(tmp_path / "a", model, parity__continuation="null")
    script = json.loads((tmp_path / "script.json").read_text())
    ids = script["ids"]
    assert [s["kind"] for s in script["segments"]] == ["prompt", "answer", "close"] * 2
    for turn, segment in zip(first["greedy"], script["segments"][1::3]):
        assert ids[segment["begin"]:segment["end"]] == turn["ids"]
        assert turn["ids"] == reference.greedy(model, ids[:segment["begin"]], 5, stop=[2])
    begin = script["segments"][1]["begin"]
    assert first["first_token"]["position"] == begin - 1
    expected = reference.logits(model, ids)[begin - 1]
    top = first["first_token"]["top"]
    assert [t["id"] for t in top] == expected.topk(5).indices.tolist()
    assert [t["prob"] for t in top] == pytest.approx(expected.softmax(-1).topk(5).values.tolist(), rel=1e-3)
    # Another arm scores these tokens, whatever it would say itself.
    second = arm(tmp_path / "b", random_model("qwen3-small"), script=tmp_path / "script.json", parity__feed="tokens")
    assert second["script_sha256"] == first["script_sha256"] and second["scored"]
    assert load_file(str(tmp_path / "b" / "logits.safetensors"))["input_ids"].tolist() == ids


def test_perplexity_is_that_of_host_eval(tmp_path, host, random_model, wikitext):
    model = random_model("qwen3-small")
    found = arm(tmp_path / "arm", model, parity__text=wikitext, parity__text_tokens=300, parity__window=64)["perplexity"]
    expected = host.perplexity(model, wikitext, sets={"eval.limit": 300, "eval.window": 64})
    assert found["value"] == pytest.approx(expected["perplexity"], rel=1e-6)
    assert found["standard_error"] == pytest.approx(expected["perplexity_standard_error"], rel=1e-6)
    assert found["tokens"] == expected["scored_tokens"] and found["nll_per_token"] == pytest.approx(expected["nll_per_token"])


def test_what_cannot_be_scored(tmp_path, random_model):
    model = random_model("qwen3-small")
    arm(tmp_path / "arm", model)
    good = json.loads((tmp_path / "script.json").read_text())
    script = tmp_path / "other.json"
    for change in ({"tokenizer_sha256": "0" * 64}, {"ids": [9999, *good["ids"][1:]], "tokenizer_sha256": None}):
        script.write_text(json.dumps(good | change))
        found = arm(tmp_path / "other", model, script=script, parity__layers="true")
        assert found["status"] == "ok" and not found["scored"] and found["positions"] == 0 and found["greedy"]
        assert not (tmp_path / "other" / "logits.safetensors").exists()
        shutil.rmtree(tmp_path / "other")
    script.write_text(json.dumps(good)[:100])
    found = arm(tmp_path / "cut", model, script=script, expect=2)
    assert found["status"] == "failed" and found["exit_code"] == 2 and "other.json" in found["error"]
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    assert "is empty" in arm(tmp_path / "empty", model, expect=2, parity__text=empty)["error"]
    assert "context limit" in arm(tmp_path / "long", model, script=tmp_path / "script.json", expect=2, model__max_context=60,
                                  parity__prompts='["x"]', parity__max_tokens=2)["error"]


def first_wrong(reference, other, tolerance=1e-4):
    """(layer, tensor, position) of the first tensor that is off, in the order of computing, and its first position."""
    a, b = load_file(str(reference / "layers.safetensors")), load_file(str(other / "layers.safetensors"))
    for name in sorted(a.keys() - {"positions"}):
        rows = (a[name] - b[name]).abs().amax(-1) / a[name].abs().max()
        if rows.max() > tolerance:
            layer, _, tensor = without_order(name).partition(".")
            return int(layer), tensor, a["positions"][int((rows > tolerance).nonzero()[0])].item()
    return None


@pytest.mark.parametrize("path", ["fp2-model", "bridge"])
def test_faults_are_where_they_are(tmp_path, random_model, path):
    model = random_model("qwen3-gqa4")
    layers = {"parity__layers": "true", "parity__layer_tokens": 200, "parity__feed": "turns"}
    arm(tmp_path / "reference", model, config=path, **layers)
    script = tmp_path / "script.json"

    def fault(name, **sets):
        arm(tmp_path / name, model, config=path, script=script, plugin_path=[BROKEN], **layers, **sets)
        return first_wrong(tmp_path / "reference", tmp_path / name)

    exact = {"linear__options__global_scale": "exact"}  # as the configs have it; another plugin begins with its own defaults
    scale = {"linear__plugin": "broken-scale", "linear__options__layer": 1} | exact
    assert fault("scale", **scale, linear__options__row=5, linear__options__block=2) == (1, "down_proj", 0)
    assert fault("row", **scale, linear__options__matrix="self_attn.v_proj", linear__options__block=-1) == (1, "v_proj", 0)
    heads = {"linear__plugin": "broken-heads", "linear__options__layer": 2, "linear__options__head_dim": 16} | exact
    assert fault("heads", **heads, linear__options__first=1, linear__options__second=6) == (2, "q_proj", 0)
    position = {"kv_cache__plugin": "broken-position", "kv_cache__options__layer": 1, "kv_cache__options__from": 33}
    assert fault("position", **position) == (1, "attention", 33)
    # Without the fault it is the shipped backend.
    arm(tmp_path / "none", model, config=path, script=script, plugin_path=[BROKEN], **layers, **scale, linear__options__row=0,
        linear__options__matrix="none.proj")
    assert first_wrong(tmp_path / "reference", tmp_path / "none", tolerance=0) is None


TEXT = "The quick brown fox jumps over the lazy dog, and then it sleeps in the sun until the evening comes."


def training_arm(folder, model, expect=0, **sets):
    folder.parent.mkdir(exist_ok=True)
    text = folder.parent / "data.txt"
    text.write_text(TEXT)
    values = {"linear__plugin": "backend-bf16", "optimizer__plugin": "optim-adamw", "train__data": json.dumps([str(text)]),
              "train__rows": 1, "train__width": 160, "train__schedule": "constant", "train__warmup_steps": 0, "train__clip": "none",
              "train__learning_rate": 1e-3, "train__steps": 5, "parity__train_steps": 4}
    return arm(folder, model, config="train-base", expect=expect, **(values | sets))


def test_updates_of_adamw(tmp_path, random_model):
    from test_train import torch_training
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM
    model = random_model("qwen3-tied")
    found = training_arm(tmp_path / "arm", model, train__freeze='["*.k_norm.weight"]')["training"]
    ids = Tokenizer.from_file(str(model / "tokenizer.json")).encode(TEXT).ids
    losses, _ = torch_training(model, ids, steps=1)
    _, expected = torch_training(model, ids, steps=1)
    assert found["losses"][0] == pytest.approx(losses[0], rel=2e-4) and len(found["losses"]) == found["steps"] == 4
    assert found["losses"][3] < found["losses"][0] and found["update_step"] == 1 and found["skipped"] == []
    updates = load_file(str(tmp_path / "arm" / found["updates_file"]))
    start = dict(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).named_parameters())
    after = dict(expected.named_parameters())
    assert updates.keys() == set(found["trained"]) == {name for name in start if "k_norm" not in name}
    for name, ours in updates.items():
        moved = (after[name] - start[name]).detach()
        assert (ours - moved).norm() / moved.norm() < 2e-2, name
    assert not (tmp_path / "script.json").exists()
    assert sorted(p.name for p in (tmp_path / "arm").iterdir()) == ["arm.json", "updates.safetensors"]


def test_updates_of_planes(tmp_path, random_model):
    model = random_model("qwen3-small")
    nvfp4 = {"optimizer__plugin": "optim-adamw-nvfp4", "linear__plugin": "backend-nvfp4"}
    a = training_arm(tmp_path / "a", model, **nvfp4)
    b = training_arm(tmp_path / "b", model, **nvfp4)
    assert a["training"]["losses"] == b["training"]["losses"], "same data, same seed"
    first, second = (load_file(str(tmp_path / x / "updates.safetensors")) for x in "ab")
    dense = load_file(str((training_arm(tmp_path / "c", model), tmp_path / "c" / "updates.safetensors")[1]))
    for name, update in first.items():
        assert torch.equal(update, second[name]), name
        # Rounded to the planes' grid, the step still goes AdamW's way.
        assert torch.cosine_similarity(update.flatten(), dense[name].flatten(), 0) > 0.05, name
    failed = arm(tmp_path / "d", model, expect=2, parity__train_steps=1)
    assert failed["status"] == "failed" and "names no optimizer" in failed["error"]
