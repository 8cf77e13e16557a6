"""Greedy text against transformers in float32, through the tokenizer and the chat template."""
import pytest
from transformers import AutoTokenizer

TOKENS = 64


@pytest.fixture(scope="module")
def tokenizer(default_model):
    return AutoTokenizer.from_pretrained(default_model)


@pytest.mark.parametrize("prompt", ["What is the capital of France?", "Write three sentences about Paris and 東京.\n"])
def test_default_model(host, reference, default_model, tokenizer, prompt):
    text = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
    ids = tokenizer.encode(text, add_special_tokens=False)
    record = host.generate(default_model, prompt, sets={"chat.max_tokens": TOKENS})
    assert record["prompt_ids"] == ids
    expected = reference.greedy(default_model, ids, TOKENS, stop=[tokenizer.eos_token_id])
    assert record["output_ids"] == expected
    assert record["stop_reason"] == ("stop_token" if len(expected) < TOKENS else "max_tokens")
    assert record["text"] == tokenizer.decode(expected, skip_special_tokens=False, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("preset", ["qwen3-gqa4", "qwen3-tied", "qwen3-yarn", "llama-gqa", "llama-llama3", "llama-headdim"])
def test_random_model(host, reference, random_model, preset):
    model = random_model(preset)
    record = host.generate(model, "The quick brown fox", raw=True, sets={"chat.max_tokens": TOKENS, "chat.ignore_eos": "true"})
    assert len(record["prompt_ids"]) == len("The quick brown fox")
    assert record["output_ids"] == reference.greedy(model, record["prompt_ids"], TOKENS)
    assert len(set(record["output_ids"])) > 4, "the model repeats itself: nothing is tested"
