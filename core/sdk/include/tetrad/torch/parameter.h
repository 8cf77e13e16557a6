// Parameter: the one type that model, linear backend, optimizer and checkpoint share for a weight. core/model
// owns it; backends read it (and may convert its storage in LinearBackend::prepare on the bridge path);
// optimizers write it through the block codec and bump `version`. Everything that is derived from a Parameter
// (eval caches, KV caches, stored sessions) records the version it was made from and is stale when the two
// differ.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tetrad {

enum class Role : std::uint8_t { embedding, linear, norm };

enum class Format : std::uint8_t {
  fp32,
  bf16,
  fp16,
  nvfp4_hi,         // one NVFP4 plane
  nvfp4_hi_lo,      // weight plane and its residual plane, tied block scales (lo = hi / 4)
  nvfp4_hi_lo_lo2,  // the same with a residual of the residual (lo2 = lo / 4)
  opaque,           // a backend's own layout
};

inline const char* format_name(Format format) noexcept {
  switch (format) {
    case Format::fp32:
      return "fp32";
    case Format::bf16:
      return "bf16";
    case Format::fp16:
      return "fp16";
    case Format::nvfp4_hi:
      return "nvfp4";
    case Format::nvfp4_hi_lo:
      return "nvfp4 hi+lo";
    case Format::nvfp4_hi_lo_lo2:
      return "nvfp4 hi+lo+lo2";
    case Format::opaque:
      return "opaque";
  }
  return "unknown";
}

// NVFP4 storage of a [N, K] matrix: value = e2m1(code) * e4m3(scale of its 16 columns) * decode_scale.
// K is padded to a multiple of 16 with zeros; element 2i sits in the low nibble.
struct Planes {
  at::Tensor codes;           // uint8 [N, Kp / 2]
  at::Tensor scales;          // uint8 [N, Kp / 16], E4M3 bits
  float decode_scale = 1.0F;  // global scale; applied as the product's fp32 alpha, never multiplied into a
                              // bf16 weight unless it is a power of two
  // Residual planes, uint8 [N, Kp / 2], undefined where the format has none: value = (q + q_lo / 4 +
  // q_lo2 / 16) * block scale * decode_scale.
  at::Tensor lo_codes;
  at::Tensor lo2_codes;
};

struct Parameter {
  std::string name;                 // Hugging Face name, e.g. "model.layers.0.self_attn.q_proj.weight"
  std::vector<std::int64_t> shape;  // [N, K] = [out, in] for matrices, [N] for norms
  Role role = Role::linear;
  Format format = Format::bf16;
  at::Tensor dense;                // [shape] for fp32 | bf16 | fp16, undefined otherwise
  Planes planes;                   // for nvfp4_hi | nvfp4_hi_lo | nvfp4_hi_lo_lo2
  bool keep_dense = false;         // a quantised checkpoint stores this matrix dense: no backend quantises it
  std::uint64_t version = 0;       // bumped by every write to the values
  int gradient_contributions = 1;  // per backward pass; 2 for a tied embedding

  std::int64_t numel() const noexcept {
    std::int64_t n = 1;
    for (std::int64_t d : shape) n *= d;
    return n;
  }
};

}  // namespace tetrad
