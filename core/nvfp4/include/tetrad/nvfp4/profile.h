// What the NVFP4 encoders of the world do differently, written once per encoder: the tensor's global scale,
// the block scale, and the way an element is divided by both. Decoding is the same for all: code * block
// scale * decode scale. Every function is a chain of single, correctly rounded fp32 operations in the order
// of the named implementation; any reordering changes bits. `te` is Tetrad's own profile; the others exist to
// reproduce files of those encoders.
//   te                  TransformerEngine core_nvfp4.cuh, equal to torchao's training reference
//   torchao_inference   torchao prototype/mx_formats nvfp4_quantize with a per-tensor scale
//   modelopt            NVIDIA ModelOpt NVFP4QTensor.quantize, dynamic path
//   compressed_tensors  compressed-tensors calculate_qparams + quantize (block scale divided in the tensor's
//   dtype)
#pragma once

#include <tetrad/nvfp4/e2m1.h>
#include <tetrad/nvfp4/e4m3.h>
#include <tetrad/nvfp4/half.h>
#include <tetrad/nvfp4/philox.h>

namespace tetrad::nvfp4 {

enum class Profile : std::uint8_t { te, torchao_inference, modelopt, compressed_tensors };

// power_of_two: the decode scale is the smallest power of two >= amax / 2688, so that code * block scale *
// decode scale is exact in bf16. exact: the profile's own rule.
enum class GlobalRule : std::uint8_t { power_of_two, exact };

// Elements that share a block scale: 16 along a row, or a tile of 16 rows x 16 columns (scale stored for each
// row).
enum class BlockShape : std::uint8_t { row16, tile16x16 };

inline constexpr std::int64_t kBlock = 16;
inline constexpr float kScaleRange = 2688.0f;  // 448 * 6, the greatest code times the greatest block scale
inline constexpr float kFourOrSixRange =
    1536.0f;  // 256 * 6: leaves room for a block scale 1.5 times as large

// Which code a block's maximum becomes. six: 6. four_or_six: 6 or 4, whichever leaves the smaller sum of
// absolute errors over the block, 6 when they are equal (Cook et al., arXiv 2512.02010); the global scale
// then belongs to kFourOrSixRange.
enum class BlockTarget : std::uint8_t { six, four_or_six };

// How elements are rounded: to nearest, ties to even, or stochastically with draw 0 of `draws` (philox.h).
enum class Rounding : std::uint8_t { nearest, stochastic };

// target and rounding other than the first ones belong to profile te; a function that does not have what is
// asked of it throws tetrad::Error(usage) and never encodes otherwise.
struct EncodeOptions {
  Profile profile = Profile::te;
  GlobalRule global = GlobalRule::power_of_two;
  BlockShape block = BlockShape::row16;
  BlockTarget target = BlockTarget::six;
  Rounding rounding = Rounding::nearest;
  DrawStream draws{};          // of a stochastic rounding
  std::int64_t first_row = 0;  // row of the tensor that row 0 of the call is, for the draws

  constexpr bool plain() const { return target == BlockTarget::six && rounding == Rounding::nearest; }
};

// The tensor's two-way scale. `decode` multiplies on the way back; `encode` is what the profile multiplies by
// on the way in (1 / decode up to rounding). Files store one of them (ModelOpt: decode, compressed-tensors:
// encode), and it must be kept as it was: 1 / (1 / x) is not always x.
struct GlobalScale {
  float encode = 1.0f;
  float decode = 1.0f;
};

// Exponent range of power-of-two decode scales: inside it every dequantised value is a normal float or 0 and
// finite, so no result depends on how a device treats subnormals.
inline constexpr int kMinGlobalExponent = -116;
inline constexpr int kMaxGlobalExponent = 116;

// The power-of-two rule: the smallest 2^k with 2^k * range >= amax; amax >= 0 and finite. amax = 0 gives 1.
TETRAD_HD inline GlobalScale power_of_two_scale(float amax, float range = kScaleRange) {
  if (amax == 0.0f) return {};
  // Both are m * 2^e with m in [1, 2).
  const std::uint32_t u = abs_bits(amax), v = abs_bits(range);
  int k = static_cast<int>(u >> 23) - static_cast<int>(v >> 23) + ((u & 0x7FFFFFu) > (v & 0x7FFFFFu) ? 1 : 0);
  if (k < kMinGlobalExponent) k = kMinGlobalExponent;
  if (k > kMaxGlobalExponent) k = kMaxGlobalExponent;
  return {bits_float(static_cast<std::uint32_t>(127 - k) << 23),
          bits_float(static_cast<std::uint32_t>(127 + k) << 23)};
}

// The profile's own rule; amax >= 0 and finite. A scale that would be 0 or infinite becomes 1, as in TE and
// compressed-tensors (torchao and ModelOpt divide by zero there).
TETRAD_HD inline GlobalScale exact_scale(float amax, Profile profile, float range = kScaleRange) {
  if (amax == 0.0f) return {};
  if (profile == Profile::te) {
    float encode = range / amax;
    if (encode > kFloatMax) encode = kFloatMax;
    if (encode == 0.0f) encode = 1.0f;
    return {encode, 1.0f / encode};
  }
  if (profile == Profile::compressed_tensors) {
    // Python's 2688 / tensor, which torch computes as a product with the reciprocal: two roundings.
    const float encode = (1.0f / amax) * kScaleRange;
    if (encode > kFloatMax) return {};
    return {encode, 1.0f / encode};
  }
  const float decode = amax / kScaleRange;
  const float encode = 1.0f / decode;
  if (decode == 0.0f || encode > kFloatMax) return {};
  return {encode, decode};
}

TETRAD_HD inline GlobalScale global_scale(float amax, const EncodeOptions& options) {
  const float range = options.target == BlockTarget::six ? kScaleRange : kFourOrSixRange;
  return options.global == GlobalRule::power_of_two ? power_of_two_scale(amax, range)
                                                    : exact_scale(amax, options.profile, range);
}

// How one block is encoded under profile P, elements of type T: scale() gives the block's E4M3 code from its
// amax b (finite), factor() what each element is multiplied or divided by, code() the element.
template <Profile P, class T>
struct BlockEncoder;

template <class T>
struct BlockEncoder<Profile::te, T> {
  // b * (S * fl(1/6)): the global scale is multiplied by fl(1/6) first. No lower clamp: a block may underflow
  // to 0.
  TETRAD_HD static std::uint8_t scale(float b, GlobalScale g) {
    const float sixth = g.encode * (1.0f / 6.0f);
    return e4m3_encode(b * sixth);
  }
  // A zero scale gives FLT_MAX: a zero block encodes to zeros, an underflowed one to saturated codes that
  // decode to 0.
  TETRAD_HD static float factor(std::uint8_t scale, GlobalScale g) {
    const float inverse = 1.0f / (e4m3_decode(scale) * g.decode);
    return inverse < kFloatMax ? inverse : kFloatMax;
  }
  TETRAD_HD static std::uint8_t code(float x, float factor) { return e2m1_encode(x * factor); }
};

template <class T>
struct BlockEncoder<Profile::torchao_inference, T> {
  TETRAD_HD static std::uint8_t scale(float b, GlobalScale g) {
    const float s = (b / 6.0f) / g.decode;
    return e4m3_encode(s < 0.015625f ? 0.015625f : s);  // never below 2^-6
  }
  TETRAD_HD static float factor(std::uint8_t scale, GlobalScale g) {
    return (1.0f / g.decode) / e4m3_decode(scale);
  }
  TETRAD_HD static std::uint8_t code(float x, float factor) { return e2m1_encode(x * factor); }
};

template <class T>
struct BlockEncoder<Profile::modelopt, T> {
  TETRAD_HD static std::uint8_t scale(float b, GlobalScale g) {
    float s = b / (6.0f * g.decode);
    if (s == 0.0f) s = 1.0f;
    return e4m3_encode(s < 0.001953125f ? 0.001953125f : s);  // never below 2^-9
  }
  TETRAD_HD static float factor(std::uint8_t scale, GlobalScale g) { return e4m3_decode(scale) * g.decode; }
  TETRAD_HD static std::uint8_t code(float x, float factor) { return e2m1_encode(x / factor); }
};

template <class T>
struct BlockEncoder<Profile::compressed_tensors, T> {
  TETRAD_HD static std::uint8_t scale(float b, GlobalScale g) {
    const float sixth = to_float(from_float<T>(b / 6.0f));
    const std::uint8_t code = e4m3_encode(g.encode * sixth);
    return code == 0 ? e4m3_encode(0.125f) : code;
  }
  TETRAD_HD static float factor(std::uint8_t scale, GlobalScale g) { return e4m3_decode(scale) / g.encode; }
  TETRAD_HD static std::uint8_t code(float x, float factor) { return e2m1_encode(x / factor); }
};

}  // namespace tetrad::nvfp4
