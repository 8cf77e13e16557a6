"""Turns of a random Qwen3 with Qwen's tokenizer: what is fed, what the cache holds, how a turn is closed."""
import json
import shutil

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

PROMPT = "Write one short sentence about UFO and you."
FOLLOWUP = "continue."
TURNS = {"chat.followup_prompt": FOLLOWUP, "chat.max_tokens": 8}
END_OF_TEXT, IM_END, NEWLINE = 151643, 151645, 198
CONFIGS = ["fp2-model", "bridge", "bf16"]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    """A random Qwen3 that stops at <|im_end|> and at <|endoftext|>, as Qwen's models do."""
    import make_qwen_tokenizer
    import make_random_model
    directory = tmp_path_factory.mktemp("qwen") / "tokenizer"
    template = make_qwen_tokenizer.DEFAULT_TEMPLATE.read_text(encoding="utf-8")
    make_qwen_tokenizer.build(directory, template)
    model = directory.parent / "model"
    make_random_model.make_model(model, preset="qwen3-small", tokenizer=directory)
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [IM_END, END_OF_TEXT]}))
    return model


@pytest.fixture(scope="module")
def prompts(qwen):
    """Token ids of each of three turns, from transformers' rendering of the whole conversation and Hugging Face's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(qwen)
    answer = "\u2042"  # stands for what the model says; it is in no other part
    messages, whole = [], ""
    pieces = []
    for prompt in (PROMPT, FOLLOWUP, FOLLOWUP):
        messages.append({"role": "user", "content": prompt})
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert text.startswith(whole)
        pieces.append(text[len(whole):].removeprefix(answer).removeprefix("<|im_end|>\n"))
        whole = text
        messages.append({"role": "assistant", "content": answer})
    return [tokenizer.encode(piece, add_special_tokens=False) for piece in pieces]


@pytest.mark.parametrize("config", CONFIGS)
def test_lengths_of_three_turns(host, qwen, prompts, config):
    turns, log = host.chat(qwen, PROMPT, turns=3, config=config, dtype="bfloat16", sets=TURNS | {"chat.ignore_eos": "true"})
    assert [t["prompt_ids"] for t in turns] == prompts
    assert [t["prefill_tokens"] for t in turns] == [17, 10, 10]
    assert [t["seq_len"] for t in turns] == [27, 47, 67]
    assert [t["context_tokens"] for t in turns] == [27, 47, 67]
    assert [len(t["output_ids"]) for t in turns] == [8, 8, 8]
    lines = [line for line in log.splitlines() if line.startswith("[kvc]")]
    for n, (line, length, prefill) in enumerate(zip(lines, (27, 47, 67), (17, 10, 10)), 1):
        assert line.startswith(f"[kvc] turn={n} seqLen={length} contextTokens={length} prefill={prefill} tok "), line
    assert len(lines) == 3


def stops_with(qwen, directory, chain):
    """The random model with a head that answers a newline with chain[0], and each of `chain` with the next.

    The head's row of a token is the embedding of the one before it, large, and the other rows are small; so the chain is
    sure, while every logit still depends on the whole context through the layers.
    """
    shutil.copytree(qwen, directory)
    weights = load_file(str(qwen / "model.safetensors"))
    head, embedding = weights["lm_head.weight"], weights["model.embed_tokens.weight"]
    head *= 0.1
    for before, after in zip([NEWLINE, *chain], chain):
        head[after] = embedding[before] * 0.3
    save_file(weights, str(directory / "model.safetensors"), metadata={"format": "pt"})
    return directory


@pytest.mark.parametrize("config, stop", [("fp2-model", END_OF_TEXT), ("bridge", END_OF_TEXT), ("bf16", END_OF_TEXT),
                                          ("fp2-model", IM_END)])
def test_a_turn_is_closed_whole_whatever_stopped_it(host, qwen, prompts, tmp_path, config, stop):
    chain, close = [1000, 2000, stop], [IM_END, NEWLINE]
    model = stops_with(qwen, tmp_path / "model", chain)
    turns, _ = host.chat(model, PROMPT, turns=3, config=config, sets=TURNS)
    length = 0
    for turn, prompt in zip(turns, prompts):
        assert turn["prompt_ids"] == prompt
        assert turn["output_ids"] == chain[:2]
        assert turn["stop_reason"] == "stop_token"
        length += len(prompt) + len(chain[:2]) + len(close)
        assert turn["seq_len"] == turn["context_tokens"] == length
    assert len(turns) == 3

    # The lengths would be the same had the stop token been written and a token of the close left out. What the cache
    # holds shows in the next turns' logits, of which the record has the gaps between the best two.
    def gaps(closed_by):
        ids, ends = [], []
        for prompt in prompts:
            ids = ids + prompt + chain[:2]
            ends.append(len(ids))
            ids = ids + closed_by
        top = host.logits(model, ids, config=config).topk(2, -1).values
        gap = top[:, 0] - top[:, 1]
        return [g for end in ends for g in gap[end - len(chain):end].tolist()]

    seen = [g for turn in turns for g in turn["top1_top2_gaps"]]
    assert seen == pytest.approx(gaps(close), rel=2e-5)
    if config != "fp2-model":
        return
    for other in ([END_OF_TEXT, NEWLINE], [END_OF_TEXT, IM_END], [NEWLINE, NEWLINE]):
        difference = max(abs(g / s - 1) for g, s in zip(gaps(other), seen))
        assert difference > 2e-4, "the logits do not tell what the cache holds"
