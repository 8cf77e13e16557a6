// One weight of a model as its files hold it: dense, or NVFP4 planes. Nothing is decoded or encoded here and
// nothing is copied: codes, block scales and the fp32 scale are those of the file, so that a conversion
// between layouts changes no weight, and every path of the engine multiplies by the same number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/layout.h"
#include "io/dtype.h"

namespace tetrad::checkpoint {

// The fp32 scale of a whole tensor with the sense that its file gives it. 1 / (1 / x) is not always x, so
// the file's number is kept and the reciprocal taken only where it is used.
struct GlobalScale {
  float value = 1.0F;
  bool divides = false;

  // What code * block scale is multiplied by.
  float factor() const noexcept { return divides ? 1.0F / value : value; }
  friend bool operator==(const GlobalScale&, const GlobalScale&) = default;
};

// A matrix [N, K], K a multiple of 16: w = (code + lo_code / 4) * block scale * global.factor().
struct Planes {
  std::span<const std::byte> codes;     // [N, K/2]
  std::span<const std::byte> scales;    // [N, K/16], E4M3
  std::span<const std::byte> lo_codes;  // [N, K/2], or empty
  GlobalScale global;
  std::optional<GlobalScale> input;  // of the activations, where the checkpoint brings one
};

struct Tensor {
  std::string name;                 // Hugging Face's: "model.layers.0.self_attn.q_proj.weight"
  std::vector<std::int64_t> shape;  // of the weight: [N, K] also for planes
  io::DType dtype = io::DType::bf16;
  std::span<const std::byte> bytes;  // the dense values; empty for planes
  std::optional<Planes> planes;
  std::uint64_t stored_bytes = 0;  // of all its parts
};

// "BF16 [576, 1536]", "NVFP4 [576, 1536]".
std::string describe(const Tensor& tensor);

// Block scales must be 0 .. 448. Throws Error(numerics) naming the first NaN or negative one. Reads all of
// them.
void check_block_scales(const Tensor& tensor, const std::string& where);

}  // namespace tetrad::checkpoint
