// The sampler's choice where the logits are on a CUDA device: 24 bytes come back instead of the row. The
// token is the one that Sampler::pick would choose from a copy of the row, bit for bit.
#pragma once

#include "generate/sampler.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace tetrad::generate {

class DeviceSampler {
 public:
  // The choice from fp32 logits [vocab] after every token of `context`, one draw of `sampler`. Nothing, and
  // no draw, where only the host can choose: logits that are elsewhere or not finite, a top_k beyond what the
  // kernel holds, or probabilities so even that top_p leaves more tokens than that.
  std::optional<Choice> pick(const at::Tensor& logits, std::span<const std::int32_t> context,
                             Sampler& sampler);

 private:
  // Marks the tokens of `context` in seen_: the new ones alone where it continues the last one.
  void mark(const at::Tensor& logits, std::span<const std::int32_t> context);

  at::Tensor seen_;                   // uint8 [vocab] on the logits' device, for the repetition penalty
  std::vector<std::int32_t> marked_;  // the context that seen_ stands for
};

}  // namespace tetrad::generate
