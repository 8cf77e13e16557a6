// Inverse frequencies of the rotary position embedding, with the scaling variants of ModelConfig. Source of
// the formulas: transformers' modeling_rope_utils (default, linear, llama3, yarn; YaRN is arXiv:2309.00071).
// Contract: every step rounds to float32 as transformers' tensors do, so every value is a float32 value; the
// only freedom left is the last bit of the power function, which differs between machines there as well.
#pragma once

#include <vector>

#include "model/config.h"

namespace tetrad::model {

struct RopeFrequencies {
  std::vector<double> inv_freq;    // [head_dim / 2], radians per position
  double attention_scaling = 1.0;  // factor on cos and sin
};

RopeFrequencies rope_inverse_frequencies(const RopeConfig& rope, std::int64_t head_dim);
inline RopeFrequencies rope_inverse_frequencies(const ModelConfig& config) {
  return rope_inverse_frequencies(config.rope, config.head_dim);
}

}  // namespace tetrad::model
