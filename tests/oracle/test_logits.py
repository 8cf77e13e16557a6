"""Logits against transformers: float32 within 1e-4 of the largest, bf16 with the same top-1 at 99 % of the positions.

bf16 keeps the second promise because every intermediate is rounded where transformers rounds it: two sound orders of the
same operations agree at some 97 % of the positions, transformers' own two attention kernels among them.
"""
import pytest
from conftest import random_ids, relative_error
from make_random_model import PRESETS


def same_top1(a, b):
    return (a.argmax(-1) == b.argmax(-1)).float().mean().item()


def check(host, reference, model, ids):
    expected = reference.logits(model, ids)
    ours = host.logits(model, ids)
    assert relative_error(ours, expected) < 1e-4
    assert same_top1(ours, expected) == 1.0
    assert same_top1(host.logits(model, ids, dtype="bfloat16"), reference.logits(model, ids, "bfloat16")) >= 0.99


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_random_model(host, reference, random_model, preset):
    model = random_model(preset)
    check(host, reference, model, random_ids(model, 200))


def test_default_model(host, reference, default_model, text_ids):
    check(host, reference, default_model, text_ids[:400])
