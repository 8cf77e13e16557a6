"""The predecessor's .dat file, written from its description, and a plain NVFP4 encoder and decoder to fill it."""
import torch
from safetensors.torch import load_file

TABLE = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6])
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def decode(codes, scales):
    nibbles = torch.stack((codes & 15, codes >> 4), -1).flatten(-2).long()
    return TABLE[nibbles] * scales.float().repeat_interleave(16, -1)


def pack(weight, scale=None):
    """A plain encoder of its own: codes [N, K/2], block scales E4M3 [N, K/16], fp32 decode scale, by default no power of two."""
    scale = weight.abs().max() / 2688 if scale is None else torch.tensor(scale)
    blocks = weight.float().unflatten(-1, (-1, 16))
    block = (blocks.abs().amax(-1) / 6 / scale).clamp(2**-9, 448).to(torch.float8_e4m3fn)
    ratio = blocks / (block.float() * scale).unsqueeze(-1)
    codes = (ratio.abs().unsqueeze(-1) - TABLE[:8]).abs().argmin(-1) + 8 * (ratio < 0)
    codes = codes.flatten(-2).to(torch.uint8)
    return codes[:, 0::2] | (codes[:, 1::2] << 4), block, scale.float()


def quantised(model, head=False, scale=None):
    """(dense tensors, {module: (codes, scales, decode scale)})"""
    dense, planes = {}, {}
    for name, tensor in load_file(str(model / "model.safetensors")).items():
        module = name.removesuffix(".weight")
        if module.endswith(LINEAR) or (head and module == "lm_head"):
            planes[module] = pack(tensor.float(), scale)
        else:
            dense[name] = tensor
    return dense, planes


def leb(value):
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | (128 if value else 0))
        if not value:
            return bytes(out)


def write_dat(model, target):
    """Projections and head of the directory `model` packed, the rest raw; {module: (codes, scales, 1)}."""
    dense, planes = quantised(model, head=True, scale=1.0)
    entries = [(name, 15, tensor.shape, tensor) for name, tensor in dense.items()]
    exact = {}
    for module, (codes, scales, _) in planes.items():
        entries.append((f"{module}.weight.qdata", 0, codes.shape, codes))
        entries.append((f"{module}.weight.scale", 101, scales.shape, scales))
        exact[module] = (codes, scales, torch.tensor(1.0))
    with open(target, "wb") as out:
        out.write(leb(len(entries)))
        for name, kind, shape, tensor in entries:
            out.write(leb(len(name)) + name.encode() + leb(kind) + leb(len(shape)) + b"".join(map(leb, shape)))
            out.write(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return exact
