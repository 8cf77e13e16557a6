#!/usr/bin/env bash
# demo.sh: two scripted turns with the default model through the training path (NVFP4 linears, persistent KV cache).
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$root"
say "host --config configs/fp2-model.yaml, two scripted turns"
build/bin/host --config configs/fp2-model.yaml \
  --set chat.prompt="What is the capital of France?" --set chat.followup_prompt="Tell me one thing to see there." \
  --set chat.turns=2 --set chat.max_tokens=48
say "To chat yourself:   build/bin/host --config configs/fp2-model.yaml   (Ctrl-C stops an answer, Ctrl-D ends)"
say "Other numerics:     build/bin/host --config configs/bridge.yaml  or  configs/bf16.yaml"
