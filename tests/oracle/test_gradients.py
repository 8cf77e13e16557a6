"""Loss and the gradient of every parameter against transformers: float32, dense and through NVFP4 (straight-through).

For NVFP4 the reference is transformers on the decoded weights: the straight-through gradient of a weight is the gradient at
the value that its quantisation decodes to.
"""
import tempfile
from pathlib import Path

import pytest
import torch
from conftest import random_ids
from safetensors.torch import load_file
from test_nvfp4_model import decoded_model, transformer_engine


def gradients(host, model, ids, config="bf16", sets=None):
    with tempfile.TemporaryDirectory(dir=host.scratch) as folder:
        out = Path(folder) / "gradients.safetensors"
        host.run("gradients", *host.config(config), "--ids", ",".join(map(str, ids)), "--out", out, model=model, sets=sets)
        return load_file(str(out))


def expected_gradients(model, ids):
    model.zero_grad()
    tokens = torch.tensor([ids])
    loss = model(tokens, labels=tokens).loss
    loss.backward()
    named = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return loss.item(), named


def check(ours, loss, expected, bound):
    assert abs(ours.pop("loss").item() - loss) < 1e-5 * loss
    ours.pop("input_ids")
    assert sorted(ours) == sorted(expected)
    for name, gradient in expected.items():
        error = (ours[name] - gradient).norm() / gradient.norm()
        assert gradient.norm() > 0 and error < bound, f"{name}: {error}"


@pytest.mark.parametrize("preset", ["qwen3-small", "qwen3-tied", "qwen3-gqa4", "qwen3-odd", "qwen3-yarn", "llama-gqa",
                                    "llama-headdim", "llama-llama3"])
def test_dense(host, reference, random_model, preset):
    model = random_model(preset)
    ids = random_ids(model, 70, seed=5)
    loss, expected = expected_gradients(reference.model(model), ids)
    check(gradients(host, model, ids), loss, expected, 2e-5)


@pytest.mark.parametrize("sets", [{"train.checkpointing": "block"}, {"train.checkpointing": "selective"},
                                  {"train.head_budget_mib": 1}])
def test_dense_with_less_memory(host, reference, random_model, sets):
    model = random_model("qwen3-small", vocab=3001)
    ids = random_ids(model, 300, seed=6)
    loss, expected = expected_gradients(reference.model(model), ids)
    check(gradients(host, model, ids, sets=sets), loss, expected, 2e-5)


@pytest.mark.parametrize("preset", ["qwen3-gqa4", "llama-gqa", "llama-headdim"])
@pytest.mark.parametrize("rule", ["exact", "power_of_two"])
def test_nvfp4_straight_through(host, reference, random_model, preset, rule):
    model = random_model(preset)
    ids = random_ids(model, 70, seed=7)
    dense = reference.model(model)
    plain_loss, _ = expected_gradients(dense, ids)
    sets = {"linear.options.global_scale": rule}
    loss, expected = expected_gradients(decoded_model(dense, transformer_engine, rule), ids)
    assert abs(loss - plain_loss) > 1e-4, "quantising changed nothing"
    check(gradients(host, model, ids, "fp2-model", sets), loss, expected, 5e-5)
