"""`host eval` against transformers on the same windows, in float32: 4 digits."""
import math

import pytest
import torch


def expected_perplexity(reference, model, ids, window, stride):
    """Each token is scored once, in the first window that holds it; the first token of the text never is."""
    nll, count, scored_to = 0.0, 0, 0
    for begin in range(0, len(ids) - 1, stride):
        end = min(begin + window, len(ids))
        log_p = torch.log_softmax(reference.logits(model, ids[begin:end]).double(), -1)
        for target in range(max(scored_to, begin + 1), end):
            nll -= log_p[target - begin - 1, ids[target]].item()
            count += 1
        scored_to = end
        if end == len(ids):
            break
    return math.exp(nll / count), count


@pytest.mark.parametrize("window, stride", [(300, None), (256, 100)])
def test_default_model(host, reference, default_model, wikitext, text_ids, window, stride):
    limit = 700
    record = host.perplexity(default_model, wikitext,
                             sets={"eval.window": window, "eval.stride": stride or "null", "eval.limit": limit})
    expected, count = expected_perplexity(reference, default_model, text_ids[:limit], window, stride or window)
    assert (record["scored_tokens"], record["tokens"], record["window"]) == (count, limit, window)
    assert record["perplexity"] == pytest.approx(expected, rel=5e-5)


@pytest.mark.parametrize("preset", ["qwen3-small", "llama-llama3"])
def test_random_model(host, reference, random_model, tmp_path, preset):
    model = random_model(preset)
    text = "Many a mickle makes a muckle.\n" * 9
    (tmp_path / "text.txt").write_text(text)
    ids = [(3 if c == "\n" else 4 + ord(c) - 32) for c in text]
    record = host.perplexity(model, tmp_path / "text.txt", sets={"eval.window": 100, "eval.stride": 37})
    expected, count = expected_perplexity(reference, model, ids, 100, 37)
    assert (record["scored_tokens"], record["tokens"]) == (count, len(ids))
    assert record["perplexity"] == pytest.approx(expected, rel=5e-5)
