"""The NVFP4 codec against other people's: torch's casts, torchao (inference encoder, to_blocked), compressed-tensors, and
what TransformerEngine's transcription and ModelOpt made of the matrices in tests/data/nvfp4 (see its README).

Codes are compared bit for bit, except that -0 and +0 count as one where an encoder drops the sign of zero.
"""
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.nvfp4.helpers import quantize_and_pack_fp4, unpack_fp4_from_uint8
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from torchao.prototype.mx_formats.kernels import f4_unpacked_to_f32, f32_to_f4_unpacked, unpack_uint4
from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale
from torchao.prototype.moe_training.nvfp4_training.hadamard_utils import get_rht_matrix
from torchao.prototype.mx_formats.utils import from_blocked, to_blocked

PROBE = Path(os.environ["TETRAD_BUILD"]) / "tests" / "codec_probe"
GOLDEN = np.load(Path(__file__).parents[1] / "data" / "nvfp4" / "encoders.npz")
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def probe(*args, data):
    done = subprocess.run([PROBE, *map(str, args)], input=data, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def raw(tensor):
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def quantize(x, profile, rule="exact", block="1x16"):
    """-> (encode, decode), codes [R, C/2], scales [R, C/16]"""
    rows, cols = x.shape
    name = next(key for key, dtype in DTYPES.items() if dtype == x.dtype)
    out = probe("quantize", profile, rule, block, name, rows, cols, data=raw(x))
    padded = (cols + 15) // 16 * 16
    assert len(out) == 8 + rows * padded // 2 + rows * padded // 16
    scale = np.frombuffer(out[:8], dtype=np.float32)
    codes = np.frombuffer(out[8:8 + rows * padded // 2], dtype=np.uint8).reshape(rows, -1)
    return scale, codes, np.frombuffer(out[8 + codes.size:], dtype=np.uint8).reshape(rows, -1)


def dequantize(codes, scales, decode, cols, dtype="f32"):
    out = probe("dequantize", float(decode).hex(), dtype, codes.shape[0], cols, data=codes.tobytes() + scales.tobytes())
    return torch.frombuffer(bytearray(out), dtype=DTYPES[dtype]).reshape(codes.shape[0], cols)


def without_negative_zero(codes):
    low, high = codes & 15, codes >> 4
    return np.where(low == 8, 0, low) | (np.where(high == 8, 0, high) << 4)


def golden_input(tag):
    x = GOLDEN[f"{tag}_x"]
    return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16) if x.dtype == np.uint16 else torch.from_numpy(x)


def matrices():
    """Inputs of both dtypes: the golden ones, and fresh ones with many ties and odd magnitudes."""
    for tag in ("a_bf16", "a_f32", "b_bf16", "c_bf16"):
        yield tag, golden_input(tag)
    generator = torch.Generator().manual_seed(5)
    for i, sigma in enumerate((0.02, 1.0, 300.0)):
        x = torch.randn(96, 512, generator=generator) * sigma
        x = torch.where(torch.rand(x.shape, generator=generator) < 0.02, x * 30, x)
        for dtype in (torch.bfloat16, torch.float32):
            yield f"random{i}_{dtype}", x.to(dtype)
        steps = torch.randint(-24, 25, (96, 512), generator=generator) / 4  # nothing but grid points and ties
        yield f"steps{i}", (steps * sigma).to(torch.bfloat16)


MATRICES = dict(matrices())


@pytest.mark.parametrize("block", ["1x16", "16x16"])
@pytest.mark.parametrize("tag", ["a_bf16", "a_f32", "b_bf16", "c_bf16"])
def test_te_profile_equals_transformer_engine(tag, block):
    _, codes, scales = quantize(golden_input(tag), "te", block=block)
    np.testing.assert_array_equal(scales, GOLDEN[f"{tag}_te_{block}_scales"])
    np.testing.assert_array_equal(codes, GOLDEN[f"{tag}_te_{block}_codes"])


@pytest.mark.parametrize("tag", ["a_bf16", "a_f32", "b_bf16", "c_bf16"])
def test_modelopt_profile_equals_modelopt(tag):
    scale, codes, scales = quantize(golden_input(tag), "modelopt")
    assert scale[1] == GOLDEN[f"{tag}_modelopt_scale_2"][0]
    np.testing.assert_array_equal(scales, GOLDEN[f"{tag}_modelopt_scales"])
    np.testing.assert_array_equal(without_negative_zero(codes), without_negative_zero(GOLDEN[f"{tag}_modelopt_codes"]))


@pytest.mark.parametrize("name", MATRICES)
def test_torchao_profile_equals_torchao(name):
    x = MATRICES[name]
    global_scale = per_tensor_amax_to_scale(x.float().abs().max())
    expected_scales, expected_codes = nvfp4_quantize(x, per_tensor_scale=global_scale)
    scale, codes, scales = quantize(x, "torchao_inference")
    assert scale[1] == global_scale.item()
    np.testing.assert_array_equal(scales, expected_scales.view(torch.uint8).numpy().reshape(scales.shape))
    np.testing.assert_array_equal(codes, expected_codes.numpy())


@pytest.mark.parametrize("name", MATRICES)
def test_compressed_tensors_profile_equals_compressed_tensors(name):
    x = MATRICES[name]
    args = QuantizationArgs(num_bits=4, type="float", strategy="tensor_group", group_size=16, symmetric=True,
                            scale_dtype=torch.float8_e4m3fn)
    global_scale = generate_gparam(x.min(), x.max())
    groups = x.unflatten(-1, (-1, 16))
    block_scales, _ = calculate_qparams(groups.amin(-1), groups.amax(-1), args, global_scale=global_scale)
    packed = quantize_and_pack_fp4(x, block_scales, global_scale=global_scale)

    encode = global_scale.item()
    # For bf16 weights compressed-tensors rounds the global scale to bf16 as well: hand over what it chose.
    rule = "exact" if x.dtype == torch.float32 else f"{encode.hex()},{(1.0 / encode).hex()}"
    scale, codes, scales = quantize(x, "compressed_tensors", rule)
    assert scale[0] == encode
    fp8 = block_scales.to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    np.testing.assert_array_equal(scales, fp8)
    np.testing.assert_array_equal(without_negative_zero(codes), without_negative_zero(packed.numpy()))
    # Decoding is the same for all: code x block scale, exact.
    values = unpack_fp4_from_uint8(packed, *x.shape, dtype=torch.float32) * block_scales.float().repeat_interleave(16, -1)
    assert torch.equal(dequantize(codes, scales, 1.0, x.shape[1]), values)


@pytest.mark.parametrize("transposed", [False, True])
def test_rotated_operands_equal_torchaos_transform(transposed):
    """torchao's Hadamard matrix with TransformerEngine's signs, in fp64 and rounded once to bf16, then the ordinary codec.
    The inputs are multiples of 1/64 within a range where every sum is exact, so that no order of summation matters."""
    signs = tuple(1 if sign == "+" else -1 for sign in "+++-+------+-+--")
    matrix = get_rht_matrix(signs, torch.device("cpu"), torch.float64, 16)
    generator = torch.Generator().manual_seed(9)
    x = (torch.randint(-255, 256, (64, 96), generator=generator) / 64).to(torch.bfloat16)
    m = x.T.contiguous() if transposed else x
    turned = (m.double().reshape(-1, 16) @ matrix).reshape(m.shape).to(torch.bfloat16)
    expected = quantize(turned, "te")
    out = probe("operand", int(transposed), 1, "bf16", *x.shape, data=raw(x))
    assert np.frombuffer(out[:8], dtype=np.float32).tolist() == expected[0].tolist()
    assert out[8:] == expected[1].tobytes() + expected[2].tobytes()


def test_global_scales_of_many_amaxes():
    """One rounding more or less in 2688 / amax moves codes of a whole tensor: most inputs hide it, so many are tried."""
    for amax in torch.rand(200, generator=torch.Generator().manual_seed(11)).add_(0.01).tolist():
        x = torch.zeros(1, 16)
        x[0, 3] = -amax
        assert quantize(x, "compressed_tensors")[0][0] == generate_gparam(x.min(), x.max()).item(), amax
        assert quantize(x, "torchao_inference")[0][1] == per_tensor_amax_to_scale(x.abs().max()).item(), amax
        assert quantize(x, "te")[0][0] == (torch.tensor(2688.0) / x.abs().max()).item(), amax


def test_element_and_scale_decode_as_torch_does():
    every = np.arange(256, dtype=np.uint8)
    codes = np.tile(np.arange(16, dtype=np.uint8).reshape(8, 2) @ np.array([1, 16], dtype=np.uint8), (256, 1)).astype(np.uint8)
    elements = f4_unpacked_to_f32(unpack_uint4(torch.from_numpy(codes)))
    scales = torch.from_numpy(every).view(torch.float8_e4m3fn).float()
    expected = elements * scales[:, None]
    for dtype in ("f32", "bf16", "f16"):
        values = dequantize(codes, every.reshape(256, 1), 1.0, 16, dtype).float()
        assert torch.equal(values.isnan(), expected.isnan())
        assert torch.equal(values.nan_to_num(7.0), expected.nan_to_num(7.0))
        assert torch.equal(torch.signbit(values[1:127]), torch.signbit(expected[1:127]))


def test_every_bf16_encodes_as_torchao_does():
    """Under an encode scale and a block scale of 1: the block's first element is 6, the rest is what is asked about."""
    patterns = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    patterns = patterns[patterns.float().abs() <= 6.0]
    patterns = torch.nn.functional.pad(patterns, (0, -len(patterns) % 15)).reshape(-1, 15)
    x = torch.cat([torch.full((patterns.shape[0], 1), 6.0, dtype=torch.bfloat16), patterns], dim=1)
    _, codes, scales = quantize(x, "te", "0x1p0,0x1p0")
    assert (scales == 0x38).all()
    np.testing.assert_array_equal(unpack_uint4(torch.from_numpy(codes.copy())).numpy(), f32_to_f4_unpacked(x.float()).numpy())


@pytest.mark.parametrize("block", ["1x16", "16x16"])
@pytest.mark.parametrize("name", MATRICES)
def test_power_of_two_weights_are_exact_in_bf16_and_no_worse(name, block):
    x = MATRICES[name]
    scale, codes, scales = quantize(x, "te", "power_of_two", block)
    assert np.frexp(scale[1])[0] == 0.5
    wide = dequantize(codes, scales, scale[1], x.shape[1])
    assert torch.equal(wide, dequantize(codes, scales, scale[1], x.shape[1], "bf16").float())
    exact_scale, exact_codes, exact_scales = quantize(x, "te", "exact", block)
    exact = dequantize(exact_codes, exact_scales, exact_scale[1], x.shape[1])

    def error(values):
        return ((values.double() - x.double()) ** 2).sum().item() / (x.double() ** 2).sum().item()

    assert error(wide) < (0.02 if block == "1x16" else 0.06)  # tiles around outliers lose more
    if name.startswith("random"):  # where nothing was built to suit one scale, the error is the same
        assert error(wide) == pytest.approx(error(exact), rel=0.03)


@pytest.mark.parametrize("rows, columns", [(1, 1), (128, 4), (127, 3), (129, 5), (300, 36), (576, 96), (1024, 7)])
def test_swizzle_equals_to_blocked(rows, columns):
    scales = torch.randint(0, 256, (rows, columns), dtype=torch.uint8, generator=torch.Generator().manual_seed(rows))
    expected = to_blocked(scales)
    swizzled = probe("swizzle", rows, columns, data=raw(scales))
    assert swizzled == raw(expected)
    assert probe("unswizzle", rows, columns, data=swizzled) == raw(scales)
    assert torch.equal(from_blocked(expected, rows, columns), scales)


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("m, n, k", [(1, 64, 576), (5, 33, 1536), (8, 17, 80)])
def test_product_equals_torch_on_the_dequantised_weight(dtype, m, n, k):
    generator = torch.Generator().manual_seed(m)
    scale, codes, scales = quantize(torch.randn(n, k, generator=generator) * 0.02, "te", "power_of_two")
    x = torch.randn(m, k, generator=generator).to(DTYPES[dtype])
    y = probe("product", dtype, m, n, k, float(scale[1]).hex(), data=codes.tobytes() + scales.tobytes() + raw(x))
    weight = dequantize(codes, scales, scale[1], k).double()
    expected = x.double() @ weight.T
    mass = x.double().abs() @ weight.abs().T
    error = (torch.frombuffer(bytearray(y), dtype=torch.float32).reshape(m, n).double() - expected).abs()
    assert (error <= (k / 8 + 16) * 2.0**-24 * mass).all()
