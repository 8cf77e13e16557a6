// hi + lo / 4 of eight elements of a block in 16-bit arithmetic, two at a time, for host and device: the same
// bits as decode_block (tetrad/nvfp4/planes.h) rounded to T, with a fifth of its operations. A sum of two
// planes has six significant bits and a block scale four, so that the one product of both is all that rounds.
#pragma once

#include <tetrad/nvfp4/e4m3.h>

#include <type_traits>

#include "nvfp4/cuda/fragment.h"

namespace tetrad::nvfp4::cuda {

// What takes code_pairs() to codes, and to a quarter of them.
template <class T>
struct PlaneUnits;
template <>
struct PlaneUnits<Bf16> {
  static constexpr std::uint32_t kOne = 0x7E807E80u, kQuarter = 0x7D807D80u;  // 2^126, 2^124
  static constexpr std::uint32_t kNan = 0x7FC07FC0u;
};
template <>
struct PlaneUnits<Fp16> {
  static constexpr std::uint32_t kOne = 0x74007400u, kQuarter = 0x6C006C00u;  // 2^14, 2^12
  static constexpr std::uint32_t kNan = 0x7E007E00u;
};

// Whether block scales times this decode scale, a power of two, are exact in T.
template <class T>
TETRAD_HD inline bool takes_plane_unit(float decode_scale) {
  constexpr bool kWide = std::is_same_v<T, Bf16>;
  return decode_scale >= (kWide ? 0x1p-116f : 0x1p-14f) && decode_scale <= (kWide ? 0x1p116f : 0x1p4f);
}

// Block scale * decode scale in both halves.
template <class T>
TETRAD_HD inline std::uint32_t plane_unit(std::uint8_t scale, float decode_scale) {
  return static_cast<std::uint32_t>(from_float<T>(e4m3_decode(scale) * decode_scale).bits) * 0x00010001u;
}

// Eight codes of each plane -> eight elements of T in their order, two in a word. The scale is not NaN.
template <class T>
TETRAD_HD inline void decode_plane_words(std::uint32_t hi, std::uint32_t lo, std::uint32_t unit,
                                         std::uint32_t (&out)[4]) {
  std::uint32_t high[4], low[4];  // (element j, element j + 4)
  code_pairs<T>(hi, moves<T>(), high);
  code_pairs<T>(lo, moves<T>(), low);
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int j = 0; j < 4; ++j) {
    const std::uint32_t sum =
        fma_pair<T>(low[j], PlaneUnits<T>::kQuarter, mul_pair<T>(high[j], PlaneUnits<T>::kOne));
    high[j] = mul_pair<T>(sum, unit);
  }
#ifdef __CUDA_ARCH__
  out[0] = __byte_perm(high[0], high[1], 0x5410);
  out[1] = __byte_perm(high[2], high[3], 0x5410);
  out[2] = __byte_perm(high[0], high[1], 0x7632);
  out[3] = __byte_perm(high[2], high[3], 0x7632);
#else
  out[0] = (high[0] & 0xFFFFu) | (high[1] << 16);
  out[1] = (high[2] & 0xFFFFu) | (high[3] << 16);
  out[2] = (high[0] >> 16) | (high[1] & 0xFFFF0000u);
  out[3] = (high[2] >> 16) | (high[3] & 0xFFFF0000u);
#endif
}

}  // namespace tetrad::nvfp4::cuda
