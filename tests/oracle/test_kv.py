"""However the KV cache is fed, logits are those of one full pass of transformers (float32, 1e-4), and so is greedy text."""
import pytest
import torch
from conftest import random_ids, relative_error
from tokenizers import Tokenizer

NONE = {"kv_cache.plugin": "kvc-none"}


def chunks(n):
    return {"model.prefill_chunk": n}


@pytest.mark.parametrize("preset", ["qwen3-gqa4", "qwen3-mqa", "qwen3-yarn", "llama-llama3", "llama-gqa"])
def test_splits_of_a_prefill(host, reference, random_model, preset):
    model = random_model(preset)
    ids = random_ids(model, 131, seed=1)
    expected = reference.logits(model, ids)
    for sets in (chunks(1), chunks(7), chunks(64), chunks(130), NONE, NONE | chunks(9)):
        assert relative_error(host.logits(model, ids, sets=sets), expected) < 1e-4, sets


def test_splits_of_a_prefill_on_the_default_model(host, reference, default_model, text_ids):
    ids = text_ids[:80]
    expected = reference.logits(default_model, ids)
    for sets in (chunks(1), chunks(37)):
        ours = host.logits(default_model, ids, sets=sets)
        assert relative_error(ours, expected) < 1e-4, sets
        assert torch.equal(ours.argmax(-1), expected.argmax(-1)), sets


def ledger_of(turns, close):
    """The tokens that the cache must hold after each turn, and where each turn's output begins."""
    ledger, begins, lengths = [], [], []
    for turn in turns:
        ledger = ledger + turn["prompt_ids"]
        begins.append(len(ledger))
        ledger = ledger + turn["output_ids"] + close
        lengths.append(len(ledger))
    return ledger, begins, lengths


def check_turns(turns, logits, close):
    """`logits`: one full pass over the whole conversation."""
    ledger, begins, lengths = ledger_of(turns, close)
    scale = logits.abs().max().item()
    for turn, begin, length in zip(turns, begins, lengths):
        assert turn["seq_len"] == turn["context_tokens"] == length
        assert turn["prefill_tokens"] == len(turn["prompt_ids"])
        count = len(turn["output_ids"]) + (turn["stop_reason"] == "stop_token")
        rows = logits[begin - 1:begin - 1 + count]
        chosen = (turn["output_ids"] + close[:1])[:count]
        assert rows.argmax(-1).tolist() == chosen
        top = rows.topk(2, -1).values
        # Of a turn's logits the record holds the gap between the best two of each choice.
        assert turn["top1_top2_gaps"] == pytest.approx((top[:, 0] - top[:, 1]).tolist(), abs=2e-4 * scale)
        assert turn["smallest_top1_top2_gap"] == min(turn["top1_top2_gaps"])


def converse(host, reference, model, close, prompts, turns, max_tokens, others):
    sets = {"chat.max_tokens": max_tokens, "chat.followup_prompt": prompts[1]}
    kept, _ = host.chat(model, prompts[0], turns=turns, sets=sets)
    ledger, _, _ = ledger_of(kept, close)
    check_turns(kept, reference.logits(model, ledger), close)
    for other in others:
        again, _ = host.chat(model, prompts[0], turns=turns, sets=sets | other)
        for key in ("prompt_ids", "output_ids", "text", "stop_reason"):
            assert [t[key] for t in again] == [t[key] for t in kept], (other, key)
    return kept


def test_turns_of_the_default_model(host, reference, default_model):
    close = Tokenizer.from_file(str(default_model / "tokenizer.json")).encode("<|im_end|>\n", add_special_tokens=False).ids
    kept = converse(host, reference, default_model, close, ["Tell me about Paris.", "What is the capital of France?"], turns=2,
                    max_tokens=16, others=[NONE])
    assert [t["stop_reason"] for t in kept] == ["max_tokens", "stop_token"], "both ends of a turn should be seen"


@pytest.mark.parametrize("preset", ["qwen3-gqa4", "llama-llama3"])
def test_turns_of_a_random_model(host, reference, random_model, preset):
    converse(host, reference, random_model(preset), [2, 3], ["Tell me.", "continue."], turns=4, max_tokens=11, others=[NONE, chunks(3)])
