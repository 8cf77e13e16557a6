"""What the engine computes with backend-nvfp4 is transformers on weights that others quantised to NVFP4 and decoded.

Three encoders: torchao's (NVFP4Tensor), compressed-tensors', and TransformerEngine's recipe written out in torch below (its
codes are checked against TransformerEngine's own in test_nvfp4_codec.py). float32, 1e-4.
"""
import copy

import pytest
import torch
from compressed_tensors.compressors.nvfp4.helpers import quantize_and_pack_fp4, unpack_fp4_from_uint8
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from conftest import random_ids, relative_error
from torchao.prototype.mx_formats.kernels import f4_unpacked_to_f32, f32_to_f4_unpacked
from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor, per_tensor_amax_to_scale

FORMS = [("fp2-model", {}), ("fp2-model", {"linear.options.eval_cache": "false"}),
         ("fp2-model", {"linear.options.residency": "dense"}), ("bridge", {}), ("bridge", {"model.prefill_chunk": 1}),
         ("bridge", {"linear.options.compute": "reference"})]


def torchao(w, _):
    scale = per_tensor_amax_to_scale(w.abs().max())
    return NVFP4Tensor.to_nvfp4(w, per_tensor_scale=scale).dequantize(torch.float32)


def compressed_tensors(w, _):
    args = QuantizationArgs(num_bits=4, type="float", strategy="tensor_group", group_size=16, symmetric=True,
                            scale_dtype=torch.float8_e4m3fn)
    global_scale = generate_gparam(w.min(), w.max())
    groups = w.unflatten(-1, (-1, 16))
    scales, _ = calculate_qparams(groups.amin(-1), groups.amax(-1), args, global_scale=global_scale)
    packed = quantize_and_pack_fp4(w, scales, global_scale=global_scale)
    values = unpack_fp4_from_uint8(packed, *w.shape, dtype=torch.float32)
    return values * scales.to(torch.float8_e4m3fn).float().repeat_interleave(16, -1) / global_scale


def transformer_engine(w, scale_rule):
    amax, largest, one = w.abs().max(), torch.tensor(2688.0), torch.tensor(1.0)
    # Tensor by tensor: torch makes number / tensor a product with the reciprocal, which rounds twice.
    encode = largest / amax
    if scale_rule == "power_of_two":
        encode = torch.exp2(-torch.ceil(torch.log2(amax.double() / 2688))).float()
    blocks = w.unflatten(-1, (-1, 16))
    scales = (blocks.abs().amax(-1, keepdim=True) * (encode * torch.tensor(1 / 6))).to(torch.float8_e4m3fn).float()
    factors = (one / (scales * (one / encode))).clamp(max=torch.finfo(torch.float32).max)
    codes = f32_to_f4_unpacked(blocks * factors)
    return (f4_unpacked_to_f32(codes) * scales * (one / encode)).flatten(-2)


ENCODERS = {("torchao_inference", "exact"): torchao, ("compressed_tensors", "exact"): compressed_tensors,
            ("te", "exact"): transformer_engine, ("te", "power_of_two"): transformer_engine}


def decoded_model(model, encode, rule):
    """A copy with every linear weight, head included, quantised and decoded."""
    model = copy.deepcopy(model)
    names = []
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear):
                w = module.weight
                padded = torch.nn.functional.pad(w, (0, -w.shape[1] % 16))
                w.copy_(encode(padded, rule)[:, :w.shape[1]])
                names.append(name)
    layers = model.config.num_hidden_layers
    assert len(names) == 7 * layers + 1 and names[-1] == "lm_head"
    return model


@pytest.mark.parametrize("profile, rule", ENCODERS)
@pytest.mark.parametrize("preset", ["qwen3-gqa4", "qwen3-odd", "llama-gqa", "llama-headdim"])
def test_random_model(host, reference, random_model, preset, profile, rule):
    model = random_model(preset)
    ids = random_ids(model, 60, seed=3)
    dense = reference.model(model)
    with torch.no_grad():
        plain = dense(torch.tensor([ids])).logits[0]
        expected = decoded_model(dense, ENCODERS[profile, rule], rule)(torch.tensor([ids])).logits[0]
    assert relative_error(plain, expected) > 1e-2, "quantising changed nothing"
    forms = FORMS if preset == "qwen3-odd" else FORMS[:1] + FORMS[3:4]
    for config, sets in forms:
        ours = host.logits(model, ids, config=config,
                           sets={"linear.options.profile": profile, "linear.options.global_scale": rule} | sets)
        assert relative_error(ours, expected) < 1e-4, (config, sets)


@pytest.mark.parametrize("config", ["fp2-model", "bridge"])
def test_default_model(host, reference, default_model, text_ids, config):
    ids = text_ids[:48]
    expected = decoded_default(reference, default_model)(torch.tensor([ids])).logits[0].detach()
    assert relative_error(host.logits(default_model, ids, config=config), expected) < 1e-4


@pytest.mark.parametrize("preset, head, embedding", [
    ("default", "packed", "dense"), ("qwen3-tied", "packed", "dense"), ("qwen3-tied", "dense", "packed"),
    ("qwen3-gqa4", "packed", "packed"), ("qwen3-gqa4", "dense", "packed")])
def test_held_as_planes_or_dense(host, random_model, default_model, text_ids, preset, head, embedding):
    """How the training path holds a weight while nothing is trained changes no bit."""
    model = default_model if preset == "default" else random_model(preset)
    ids = text_ids[:20] if preset == "default" else random_ids(model, 20, seed=4)
    options = {"linear.options.head": head, "linear.options.embedding": embedding}
    parameter = host.logits(model, ids, config="fp2-model", dtype="bfloat16", sets=options | {"linear.options.residency": "dense"})
    for cache in ("true", "false"):
        planes = host.logits(model, ids, config="fp2-model", dtype="bfloat16", sets=options | {
            "linear.options.residency": "planes", "linear.options.eval_cache": cache})
        assert torch.equal(planes, parameter), cache


def decoded_default(reference, directory, kept={}):
    if not kept:
        kept["model"] = decoded_model(reference.model(directory), transformer_engine, "exact")
    return kept["model"]
