// The linears of Qwen3-4B, grouped as a decode step launches them.
#pragma once

#include <cstdint>
#include <vector>

namespace tetrad::bench {

struct LinearShape {
  const char* name;
  std::vector<std::int64_t> rows;  // of the weights that share x
  std::int64_t k;
  bool silu_mul;
};

inline std::vector<LinearShape> layer_shapes() {
  return {{"qkv", {4096, 1024, 1024}, 2560, false},
          {"o", {2560}, 4096, false},
          {"gate_up", {9728, 9728}, 2560, true},
          {"down", {2560}, 9728, false}};
}

inline LinearShape head_shape() {
  return {"head", {151936}, 2560, false};
}

}  // namespace tetrad::bench
