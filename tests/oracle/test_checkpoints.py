"""Quantised checkpoints: what `host convert` writes loads in transformers + compressed-tensors with the logits of `host logits`,
and what others write (ModelOpt's layout and the .dat, written here from their descriptions) loads in Tetrad with the logits of
transformers on the decoded weights.
"""
import json
import shutil
import subprocess

import pytest
import torch
from conftest import BUILD, ROOT, random_ids, relative_error
from dat_format import decode, quantised, write_dat
from safetensors.torch import load_file, save_file

PATHS = ("bridge", "fp2-model")


def convert(source, target, layout, *args, expect=0):
    words = [str(BUILD / "bin" / "host"), "convert", "--from", source, "--to", target, "--format", layout, *args]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == expect, f"exit {done.returncode}\n{done.stderr[-3000:]}"
    return done


def companions(model, target, change=None):
    target.mkdir()
    for file in model.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, target / file.name)
    config = json.loads((model / "config.json").read_text())
    config.update(change or {})
    (target / "config.json").write_text(json.dumps(config))


def modelopt(model, target, activations):
    dense, planes = quantised(model)
    tensors = dict(dense)
    for module, (codes, scales, scale) in planes.items():
        tensors |= {f"{module}.weight": codes, f"{module}.weight_scale": scales, f"{module}.weight_scale_2": scale.clone()}
        if activations:
            tensors[f"{module}.input_scale"] = torch.tensor(0.01)
    algorithm = "NVFP4" if activations else "W4A16_NVFP4"
    companions(model, target)  # the older kind: config.json says nothing
    (target / "hf_quant_config.json").write_text(json.dumps({
        "producer": {"name": "modelopt", "version": "0.33.0"},
        "quantization": {"quant_algo": algorithm, "kv_cache_quant_algo": None, "group_size": 16,
                         "exclude_modules": ["lm_head"]}}))
    save_file(tensors, target / "model.safetensors")
    return planes


def with_planes(reference, model, planes):
    import copy
    result = copy.deepcopy(reference.model(model))
    with torch.no_grad():
        for module, (codes, scales, scale) in planes.items():
            result.get_submodule(module).weight = torch.nn.Parameter(decode(codes, scales) * scale)
    return result


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float()


@pytest.mark.parametrize("preset", ["qwen3-gqa4", "qwen3-tied", "llama-gqa"])
@pytest.mark.parametrize("rule", ["power_of_two", "exact"])
def test_transformers_loads_compressed_tensors(host, reference, random_model, tmp_path, preset, rule):
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig
    model = random_model(preset)
    profile = "te" if rule == "power_of_two" else "compressed_tensors"
    convert(model, tmp_path / "ct", "compressed-tensors", "--global-scale", rule, "--profile", profile)
    ids = random_ids(model, 40, seed=5)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ct", dtype=torch.float32,
                                                  quantization_config=CompressedTensorsConfig(dequantize=True)).eval()
    expected = logits(theirs, ids)
    stored = load_file(str(tmp_path / "ct" / "model.safetensors"))
    modules = [name.removesuffix(".weight_packed") for name in stored if name.endswith(".weight_packed")]
    assert len(modules) == 7 * theirs.config.num_hidden_layers
    exact = logits(with_planes(reference, model, {
        module: (stored[f"{module}.weight_packed"], stored[f"{module}.weight_scale"], 1 / stored[f"{module}.weight_global_scale"])
        for module in modules}), ids)
    for config in PATHS:
        ours = host.logits(tmp_path / "ct", ids, config=config)
        assert relative_error(ours, exact) < 1e-5, config
        # compressed-tensors decodes to bfloat16, which is exact where the global scale is a power of two.
        assert relative_error(ours, expected) < (1e-5 if rule == "power_of_two" else 5e-2), config


@pytest.mark.parametrize("layout", ["tetrad", "modelopt", "compressed-tensors"])
def test_layouts_are_one_model(host, reference, random_model, tmp_path, layout):
    """The same planes in each layout, and decoded to bf16, give the same logits; transformers reads the decoded one."""
    model = random_model("qwen3-gqa4")
    ids = random_ids(model, 30, seed=6)
    convert(model, tmp_path / "q", layout)
    convert(tmp_path / "q", tmp_path / "dense", "hf-bf16")
    expected = reference.logits(tmp_path / "dense", ids)
    for config in PATHS:
        assert relative_error(host.logits(tmp_path / "q", ids, config=config), expected) < 1e-5, config


@pytest.mark.parametrize("activations", [False, True])
def test_modelopt(host, reference, random_model, tmp_path, activations):
    model = random_model("qwen3-gqa4")
    planes = modelopt(model, tmp_path / "mo", activations)
    ids = random_ids(model, 30, seed=7)
    expected = logits(with_planes(reference, model, planes), ids)
    for config in PATHS:
        assert relative_error(host.logits(tmp_path / "mo", ids, config=config), expected) < 1e-5, config
    convert(tmp_path / "mo", tmp_path / "ct", "compressed-tensors")
    convert(tmp_path / "mo", tmp_path / "tetrad", "tetrad")
    convert(tmp_path / "tetrad", tmp_path / "back", "modelopt")
    assert relative_error(host.logits(tmp_path / "ct", ids, config="bridge"), expected) < 1e-5
    original, back = (load_file(str(tmp_path / d / "model.safetensors")) for d in ("mo", "back"))
    assert original.keys() == back.keys()
    for name, tensor in original.items():
        assert torch.equal(tensor.flatten().view(torch.uint8), back[name].flatten().view(torch.uint8)), name


def test_dat(host, reference, random_model, tmp_path):
    """A tied model, whose .dat brings a quantised head of its own beside the embedding."""
    model = random_model("qwen3-gqa4")
    companions(model, tmp_path / "config", {"tie_word_embeddings": True})
    planes = write_dat(model, tmp_path / "w.dat")
    ids = random_ids(model, 30, seed=8)
    expected = logits(with_planes(reference, model, planes), ids)
    for config in PATHS:
        ours = host.logits(tmp_path / "config", ids, config=config, sets={"model.weights": tmp_path / "w.dat"})
        assert relative_error(ours, expected) < 1e-5, config
    convert(tmp_path / "w.dat", tmp_path / "tetrad", "tetrad", "--config-from", tmp_path / "config")
    assert relative_error(host.logits(tmp_path / "tetrad", ids, config="bridge"), expected) < 1e-5
    done = host.run("logits", *host.config("bridge"), "--ids", "1", "--out", tmp_path / "x.safetensors",
                    model=tmp_path / "w.dat", expect=2)
    assert "the file in model.weights" in done.stderr


def test_dense_backend_refuses_planes(host, random_model, tmp_path):
    convert(random_model("qwen3-gqa4"), tmp_path / "q", "tetrad")
    done = host.run("logits", *host.config("bf16"), "--ids", "1", "--out", tmp_path / "x.safetensors", model=tmp_path / "q",
                    expect=3)
    assert "backend-nvfp4" in done.stderr and not (tmp_path / "x.safetensors").exists()
