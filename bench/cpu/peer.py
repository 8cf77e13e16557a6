"""One peer, one JSON line: prefill and decode times of the given token ids, several runs in one process after a warm-up.

    python peer.py transformers-bf16|transformers-fp32|llama.cpp MODEL NEW_TOKENS REPEATS THREADS < ids.json

MODEL is a Hugging Face folder, or a GGUF file for llama.cpp. Greedy, batch 1, the key-value cache kept.
"""
import json
import sys
import time


def run_transformers(model_dir, dtype, ids, new_tokens, repeats, threads):
    import torch
    import transformers

    torch.set_num_threads(threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype).eval()
    prompt = torch.tensor([ids])
    runs = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.perf_counter()
            out = model(prompt, use_cache=True, logits_to_keep=1)
            token = out.logits[:, -1:].argmax(-1)
            prefill = time.perf_counter() - start
            start = time.perf_counter()
            for _ in range(new_tokens):
                out = model(token, past_key_values=out.past_key_values, use_cache=True)
                token = out.logits[:, -1:].argmax(-1)
                int(token)
            runs.append({"prefill_s": prefill, "decode_s": time.perf_counter() - start})
    return runs, f"transformers {transformers.__version__}, torch {torch.__version__}"


def run_llama_cpp(gguf, ids, new_tokens, repeats, threads):
    import llama_cpp
    import numpy

    model = llama_cpp.Llama(model_path=gguf, n_ctx=2048, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False)

    def best():
        return int(numpy.argmax(numpy.ctypeslib.as_array(llama_cpp.llama_get_logits(model.ctx), (model.n_vocab(),))))

    runs = []
    for _ in range(repeats):
        model.reset()
        start = time.perf_counter()
        model.eval(ids)
        token = best()
        prefill = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(new_tokens):
            model.eval([token])
            token = best()
        runs.append({"prefill_s": prefill, "decode_s": time.perf_counter() - start})
    return runs, f"llama-cpp-python {llama_cpp.__version__}"


def main():
    kind, model, new_tokens, repeats, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    ids = json.load(sys.stdin)
    if kind == "llama.cpp":
        runs, version = run_llama_cpp(model, ids, new_tokens, repeats + 1, threads)
    else:
        import torch

        dtype = {"transformers-bf16": torch.bfloat16, "transformers-fp32": torch.float32}[kind]
        runs, version = run_transformers(model, dtype, ids, new_tokens, repeats + 1, threads)
    for run in runs:
        run["prefill_tok_s"] = len(ids) / run["prefill_s"]
        run["decode_tok_s"] = new_tokens / run["decode_s"]
    print(json.dumps({"version": version, "runs": runs[1:]}))


if __name__ == "__main__":
    main()
