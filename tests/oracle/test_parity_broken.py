"""`host parity` catches a backend with one scale halved, one with two heads swapped and a KV cache that is off by one position,
names the layer and the tensor (or the position) of each, and passes what is right, in one sweep."""
import json

import pytest
from conftest import BUILD, ROOT

BROKEN = BUILD / "tests" / "plugins" / "broken"
SWEEP = """
extends: [{base}]
task: parity
model: {{path: {model}, dtype: {dtype}, device: cpu}}
path: training
linear: {{plugin: backend-nvfp4, options: {{global_scale: exact}}}}
run: {{dir: {runs}}}
parity:
  prompts: ["Say it.", "Again."]
  continuation: "No, I shall not say it."
  max_tokens: 4
  layers: true
  layer_tokens: 200
  sweep:
    include:
      - {{label: right}}
      - {{label: by tokens, parity.feed: tokens}}
      - {{label: bridge, path: bridge}}
      - {{label: scale, linear.plugin: broken-scale, linear.options.global_scale: exact, linear.options.layer: 1,
         linear.options.matrix: mlp.up_proj, linear.options.row: 21, linear.options.block: {block}}}
      - {{label: heads, linear.plugin: broken-heads, linear.options.global_scale: exact, linear.options.layer: 2,
         linear.options.head_dim: 16, linear.options.first: 1, linear.options.second: 6}}
      - {{label: position, kv_cache.plugin: broken-position, kv_cache.options.layer: 1, kv_cache.options.from: 33}}
"""


@pytest.mark.parametrize("dtype, block", [("float32", 2), ("bfloat16", -1)])
def test_each_fault_is_named(tmp_path, host, random_model, dtype, block):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP.format(base=ROOT / "configs" / "base.yaml", model=random_model("qwen3-gqa4"), dtype=dtype,
                                  block=block, runs=tmp_path / "runs"))
    done = host.run("parity", "--config", sweep, "--plugin-path", BROKEN, "--json", expect=1,
                    sets={"run.dir": tmp_path / "runs"})
    arms = {arm["label"]: arm for arm in json.loads(done.stdout)["arms"]}
    words = {label: arm["verdict"]["word"] for label, arm in arms.items()}
    assert words == {"right": "reference", "by tokens": "pass", "bridge": "pass", "scale": "fail", "heads": "fail",
                     "position": "fail"}, json.dumps({a: arms[a]["verdict"] for a in arms}, indent=1)

    def beyond(label):
        found = arms[label]["against_reference"]["first_layer_beyond"]
        return found["layer"], found["tensor"]

    assert beyond("scale") == (1, "up_proj")
    assert beyond("heads") == (2, "q_proj")
    assert beyond("position") == (1, "attention")
    # Every position up to the fault is right to the bit, the one with it is not.
    kl = arms["position"]["against_reference"]["kl"]
    assert max(kl[:33]) == 0 and kl[33] > 0
