// Bytes that a model's Parameters hold, by what they are held as. What a backend keeps of its own beside them
// (eval cache, opaque layouts, workspace) is LinearBackend::memory()'s to say.
#pragma once

#include <tetrad/torch/parameter.h>

#include <cstdint>
#include <deque>

namespace tetrad::model {

struct WeightBytes {
  std::int64_t dense = 0;
  std::int64_t planes = 0;  // NVFP4 codes, block scales and residual codes
  std::int64_t total() const noexcept { return dense + planes; }
};

WeightBytes weight_bytes(const Parameter& parameter) noexcept;
WeightBytes weight_bytes(const std::deque<Parameter>& parameters) noexcept;

}  // namespace tetrad::model
