"""Training path and bridge on the same NVFP4 weights.

With float32 activations they must agree to KL < 1e-6 and in every top-1 and every greedy token. In bf16 rounding takes over:
its size is measured by feeding one path whole, in 64s, in 4s and token by token, and the paths may differ no more than that.
"""
import pytest
import torch
from conftest import random_ids

CONFIGS = ("fp2-model", "bridge")
GAP = 0.25  # logits: what may separate the two candidates where bf16 texts part


def scales(name):
    return {"linear.options.global_scale": name}


def divergence(a, b):
    """KL(a || b) of each position, nats."""
    p, q = (torch.log_softmax(x.double(), -1) for x in (a, b))
    return (p.exp() * (p - q)).sum(-1)


def check_equal(training, bridge, what):
    kl = divergence(training, bridge).max().item()
    assert kl < 1e-6, what
    assert torch.equal(training.argmax(-1), bridge.argmax(-1)), what
    return kl


# The bridge's product on packed weights serves up to 24 rows, strips of dequantised weights serve more: both are fed.
@pytest.mark.parametrize("preset", ["qwen3-gqa4", "qwen3-odd", "qwen3-mha-wide", "llama-gqa", "llama-headdim"])
@pytest.mark.parametrize("scale", ["exact", "power_of_two"])
def test_random_model_in_fp32(host, random_model, preset, scale):
    model = random_model(preset)
    ids = random_ids(model, 120, seed=2)
    training = host.logits(model, ids, config="fp2-model", sets=scales(scale))
    for chunk in (2048, 1):
        bridge = host.logits(model, ids, config="bridge", sets=scales(scale) | {"model.prefill_chunk": chunk})
        check_equal(training, bridge, (scale, chunk))


def test_default_model_in_fp32(host, default_model, text_ids, capsys):
    ids = text_ids[:128]
    training = host.logits(default_model, ids, config="fp2-model")
    largest = {chunk: check_equal(training, host.logits(default_model, ids, config="bridge",
                                                        sets={"model.prefill_chunk": chunk}), chunk) for chunk in (2048, 16)}
    with capsys.disabled():
        print(f"\n[paths] fp32, default model: largest KL(training || bridge) by chunk: {largest}")


@pytest.mark.parametrize("sets", [{"chat.ignore_eos": "true"},
                                  {"chat.temperature": 0.9, "chat.top_p": 0.9, "chat.seed": 7, "chat.ignore_eos": "true"}],
                         ids=["greedy", "sampled"])
def test_same_text_in_fp32(host, default_model, random_model, sets):
    sets = sets | {"chat.max_tokens": 64, "chat.collapse": "flag"}
    for model in (default_model, random_model("qwen3-gqa4")):
        training, bridge = (host.generate(model, "Tell me about Paris.", config=c, sets=sets) for c in CONFIGS)
        assert len(training["output_ids"]) == 64
        assert training["output_ids"] == bridge["output_ids"]
        assert training["text"] == bridge["text"]


def test_bf16_paths_differ_no_more_than_bf16_does(host, default_model, text_ids, capsys):
    ids = text_ids[:128]
    fed = {(config, chunk): host.logits(default_model, ids, config=config, dtype="bfloat16", sets={"model.prefill_chunk": chunk})
           for config in CONFIGS for chunk in (2048, 64, 4, 1)}

    def compare(a, b):
        kl = divergence(fed[a], fed[b])
        return kl.mean().item(), kl.max().item(), (fed[a].argmax(-1) == fed[b].argmax(-1)).float().mean().item()

    lines, noise, across = [], [], []
    for config in CONFIGS:
        for chunk in (64, 4, 1):
            noise.append(compare((config, 2048), (config, chunk)))
            lines.append((f"{config}, whole against {chunk}s", noise[-1]))
    for chunk in (2048, 64, 4, 1):
        across.append(compare(("fp2-model", chunk), ("bridge", chunk)))
        lines.append((f"fp2-model against bridge, in {chunk}s", across[-1]))
    with capsys.disabled():
        print("\n[paths] bf16, default model, KL in nats:")
        for what, (mean, largest, top1) in lines:
            print(f"  {what:38} mean {mean:.2e}  largest {largest:.2e}  same top-1 {top1:.1%}")
    assert max(n[0] for n in noise) > 0, "feeding in pieces changed nothing: the noise was not measured"
    assert max(a[0] for a in across) <= 1.5 * max(n[0] for n in noise)
    assert max(a[1] for a in across) <= 3 * max(n[1] for n in noise)


@pytest.mark.parametrize("prompt", ["Write a poem about the sea.", "How do I boil an egg?"])
def test_bf16_texts_part_only_where_the_choice_is_close(host, default_model, prompt, capsys):
    sets = {"chat.max_tokens": 40, "chat.collapse": "flag"}
    training, bridge = (host.generate(default_model, prompt, config=c, dtype="bfloat16", sets=sets) for c in CONFIGS)
    a, b = training["output_ids"], bridge["output_ids"]
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), None)
    if at is None:
        assert a == b
        with capsys.disabled():
            print(f"\n[paths] bf16, '{prompt}': the same {len(a)} tokens on both paths")
        return
    gaps = [record["top1_top2_gaps"][at] for record in (training, bridge)]
    with capsys.disabled():
        print(f"\n[paths] bf16, '{prompt}': texts part at token {at} ({a[at]} / {b[at]}); top-1/top-2 gap "
              f"{gaps[0]:.4f} (training), {gaps[1]:.4f} (bridge)")
    assert max(gaps) < GAP
    # Each path's choice is the other's second: what the paths made of the text before is the same but for rounding.
    for config in CONFIGS:
        row = host.logits(default_model, training["prompt_ids"] + a[:at], config=config, dtype="bfloat16")[-1]
        assert {a[at], b[at]} == set(row.topk(2).indices.tolist()) or abs(row[a[at]] - row[b[at]]) < GAP
