// Loads and stores of float and bf16 values as vectors of float, for the ops' vector kernels. No include
// guard in the usual sense: like Highway's own -inl headers it is compiled once per vector target, after
// highway.h. Storing bf16 rounds to nearest even, NaN to 0x7FC0, as tetrad/nvfp4/half.h does.
#if defined(TETRAD_OPS_SIMD_VALUES_H) == defined(HWY_TARGET_TOGGLE)
#ifdef TETRAD_OPS_SIMD_VALUES_H
#undef TETRAD_OPS_SIMD_VALUES_H
#else
#define TETRAD_OPS_SIMD_VALUES_H
#endif

#include <hwy/highway.h>
#include <tetrad/nvfp4/half.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace tetrad::ops::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using nvfp4::Bf16;
using F = hn::CappedTag<float, 16>;
using V = hn::Vec<F>;

HWY_INLINE V load(const float* p) {
  return hn::LoadU(F(), p);
}

HWY_INLINE V load(const Bf16* p) {
  const hn::Rebind<std::uint16_t, F> du16;
  const hn::RebindToUnsigned<F> du;
  const auto bits = hn::LoadU(du16, reinterpret_cast<const std::uint16_t*>(p));
  return hn::BitCast(F(), hn::ShiftLeft<16>(hn::PromoteTo(du, bits)));
}

// The bits of v rounded to bf16, in the lower half of each lane.
HWY_INLINE hn::Vec<hn::RebindToUnsigned<F>> bf16_bits(V v) {
  const hn::RebindToUnsigned<F> du;
  const auto u = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(odd, hn::Set(du, 0x7FFFu))));
  const auto nan = hn::Gt(hn::And(u, hn::Set(du, 0x7FFFFFFFu)), hn::Set(du, 0x7F800000u));
  return hn::IfThenElse(nan, hn::Set(du, 0x7FC0u), rounded);
}

HWY_INLINE void store(V v, float* p) {
  hn::StoreU(v, F(), p);
}

HWY_INLINE void store(V v, Bf16* p) {
  const hn::Rebind<std::uint16_t, F> du16;
  const hn::RebindToSigned<F> di;
  hn::StoreU(hn::DemoteTo(du16, hn::BitCast(di, bf16_bits(v))), du16, reinterpret_cast<std::uint16_t*>(p));
}

// v as it would be read back after being stored as T.
HWY_INLINE V rounded_to(V v, const float*) {
  return v;
}
HWY_INLINE V rounded_to(V v, const Bf16*) {
  return hn::BitCast(F(), hn::ShiftLeft<16>(bf16_bits(v)));
}

}  // namespace tetrad::ops::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
