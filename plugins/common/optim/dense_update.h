// One AdamW step of a parameter whose m and v are fp32: the arithmetic of an element (host and device), and
// what a kernel needs to know. The weight is fp32; or bf16 / fp16 with an fp32 master beside it, whose
// rounded value it is; or bf16 alone, rounded to nearest or stochastically (draw 0 of the element, philox.h).
#pragma once

#include <tetrad/nvfp4/codec.h>
#include <tetrad/nvfp4/half.h>
#include <tetrad/nvfp4/philox.h>

#include <type_traits>

#include "optim/adam_math.h"

namespace tetrad::optim {

enum class DenseRounding : std::uint8_t { nearest, stochastic };

// A finite x rounded to bf16 by 16 random bits: up with the probability of the part that is cut off. What is
// on the grid stays; what would become infinite is cut off.
TETRAD_HD inline nvfp4::Bf16 bf16_stochastic(float x, std::uint32_t draw) {
  const std::uint32_t u = nvfp4::float_bits(x);
  std::uint32_t up = u + (draw & 0xFFFFu);
  if ((up & 0x7F800000u) == nvfp4::kFloatInf) up = u;
  nvfp4::Bf16 out;
  out.bits = static_cast<std::uint16_t>(up >> 16);
  return out;
}

// False, and nothing changed, where the gradient or what comes of it is not finite. `w` is the fp32 weight
// (the master where there is one).
TETRAD_HD inline bool adamw_element(float& w, float& m, float& v, float g, const AdamFactors& f) {
  const float m1 = next_m(m, g, f), v1 = next_v(v, g, f);
  const float w1 = w * f.decay - f.step_size * direction(m1, root(v1), f);
  if (!nvfp4::is_finite_bits(nvfp4::abs_bits(w1)) || !nvfp4::is_finite_bits(nvfp4::abs_bits(v1)) ||
      !nvfp4::is_finite_bits(nvfp4::abs_bits(m1)))
    return false;
  w = w1;
  m = m1;
  v = v1;
  return true;
}

// Pointers are of the device that runs it.
struct DenseArgs {
  void* w = nullptr;        // [rows, cols] of w_type
  float* master = nullptr;  // fp32 [rows, cols], or null
  float* m = nullptr;
  float* v = nullptr;
  const void* g = nullptr;  // [rows, cols] of g_type
  enum class Type : std::uint8_t { fp32, bf16, fp16 } w_type = Type::fp32, g_type = Type::fp32;
  DenseRounding rounding = DenseRounding::nearest;
  std::int64_t rows = 0, cols = 0;
  const float* scale = nullptr;  // null: 1
  std::int32_t* stop = nullptr;  // null: 0
  std::int32_t mark = 1;         // what stop becomes when something is not finite
  AdamFactors f{};
  nvfp4::DrawStream draws;
};

// The new weight of `element`, counted in the dense tensor, in the type that it is stored in.
template <class W>
TETRAD_HD inline W narrowed(const DenseArgs& a, float x, std::int64_t element) {
  if constexpr (std::is_same_v<W, nvfp4::Bf16>) {
    if (a.rounding == DenseRounding::stochastic) {
      const std::int64_t row = element / a.cols;
      const auto place =
          static_cast<std::uint64_t>(row * nvfp4::packed_cols(a.cols) + element - row * a.cols);
      return bf16_stochastic(x, nvfp4::draw0(nvfp4::draw_words(a.draws, place / 4).word[place % 4]));
    }
  }
  return nvfp4::from_float<W>(x);
}

}  // namespace tetrad::optim
