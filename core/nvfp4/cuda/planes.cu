// Compiled without contraction (-fmad=false) like every file whose results are compared bit by bit.
#include <tetrad/nvfp4/cuda/planes.h>
#include <tetrad/nvfp4/planes.h>

#include <type_traits>

#include "nvfp4/checks.h"
#include "nvfp4/cuda/kernel_support.cuh"
#include "nvfp4/cuda/plane_pairs.h"

namespace tetrad::nvfp4::cuda {
namespace {

template <class Byte>
__host__ __device__ Byte* plane(const PlanesAt<Byte>& planes, int p) {
  return p == 0 ? planes.codes : (p == 1 ? planes.lo : planes.lo2);
}

// One thread per block. `first_block`: the tensor's number of the first one, for the draws.
template <int P, bool Stochastic, bool kFlat, class T>
__global__ void quantize_planes_kernel(const T* x, std::int64_t blocks, std::int64_t cols,
                                       std::int64_t stride, GlobalSource source, DrawStream draws,
                                       std::int64_t first_block, PlanesOut out, NonFiniteReport report) {
  const GlobalScale global = source.get();
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    float values[16];
    load_block_at<kFlat>(x, i, cols, stride, values);
    const std::uint32_t greatest = block_amax(values);
    const std::uint8_t scale = block_scale_of(greatest, global);
    std::uint32_t words[16];
    if constexpr (Stochastic) {
      draw_block(draws, first_block + i, words);
#pragma unroll
      for (int k = 0; k < 16; ++k) words[k] = draw0(words[k]);
    }
    BlockCodes codes[P];
    encode_block<P, Stochastic>(values, scale, global.decode, words, codes);
    out.scales[i] = scale;
#pragma unroll
    for (int p = 0; p < P; ++p) store_codes(codes[p], plane(out, p) + i * 8);
    if (!is_finite_bits(greatest)) say_non_finite(report);
  }
}

// values = those of block i.
template <int P, bool Folded>
__device__ void decode_block_at(const PlanesView& planes, std::int64_t i, float decode_scale,
                                float (&values)[16]) {
  BlockCodes codes[P];
#pragma unroll
  for (int p = 0; p < P; ++p) codes[p] = load_codes(plane(planes, p) + i * 8);
  const std::uint8_t scale = planes.scales[i];
  const bool nan = (scale & 0x7F) == kE4m3Nan;
  decode_block(codes, scale, 1.0f, values);
#pragma unroll
  for (int k = 0; k < 16; ++k) {
    const float value = (Folded ? folded(values[k]) : values[k]) * decode_scale;
    values[k] = nan ? bits_float(kFloatNan) : value;  // the reference's NaN, not the multiplier's
  }
}

template <int P, bool Folded, bool kFlat, class T>
__global__ void dequantize_planes_kernel(PlanesView planes, float decode_scale, std::int64_t blocks,
                                         std::int64_t cols, T* out) {
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    float values[16];
    decode_block_at<P, Folded>(planes, i, decode_scale, values);
    store_block_at<kFlat>(values, i, cols, out);
  }
}

// One thread per block of the result.
template <int P, bool Folded, bool kFlat, class T>
__global__ void gather_planes_kernel(PlanesView planes, float decode_scale, std::int64_t rows,
                                     std::int64_t cols, const std::int64_t* ids, std::int64_t blocks,
                                     T* out) {
  const std::int64_t row_blocks = (cols + kBlock - 1) / kBlock;
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    const std::int64_t to = i / row_blocks, from = ids[to];
    float values[16];
    if (from >= 0 && from < rows) {
      decode_block_at<P, Folded>(planes, from * row_blocks + (i - to * row_blocks), decode_scale, values);
    } else {
#pragma unroll
      for (float& value : values) value = bits_float(kFloatNan);
    }
    store_block_at<kFlat>(values, i, cols, out);
  }
}

template <int P, bool Stochastic, class T>
void launch_quantize(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                     const GlobalSource& global, const LastPlane& last, const PlanesOut& out,
                     NonFiniteReport report, Stream stream) {
  const std::int64_t blocks = block_count(rows, cols);
  const std::int64_t first = block_count(last.first_row, cols);
  if (is_flat(x, cols, stride))
    quantize_planes_kernel<P, Stochastic, true><<<grid_for(blocks), kThreads, 0, stream>>>(
        x, blocks, cols, stride, global, last.draws, first, out, report);
  else
    quantize_planes_kernel<P, Stochastic, false><<<grid_for(blocks), kThreads, 0, stream>>>(
        x, blocks, cols, stride, global, last.draws, first, out, report);
  check_launch("quantise to planes");
}

template <int P, class T>
void quantize_by_rounding(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                          const GlobalSource& global, const LastPlane& last, const PlanesOut& out,
                          NonFiniteReport report, Stream stream) {
  if (last.stochastic)
    launch_quantize<P, true>(x, rows, cols, stride, global, last, out, report, stream);
  else
    launch_quantize<P, false>(x, rows, cols, stride, global, last, out, report, stream);
}

template <class T>
void quantize_by_count(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                       const GlobalSource& global, const LastPlane& last, const PlanesOut& out,
                       NonFiniteReport report, Stream stream) {
  if (rows <= 0 || cols <= 0) return;
  switch (out.count()) {
    case 1:
      return quantize_by_rounding<1>(x, rows, cols, stride, global, last, out, report, stream);
    case 2:
      return quantize_by_rounding<2>(x, rows, cols, stride, global, last, out, report, stream);
    default:
      return quantize_by_rounding<3>(x, rows, cols, stride, global, last, out, report, stream);
  }
}

// hi + lo to 16 bits: a thread takes eight elements, so that a warp stores whole lines.
template <class T>
__global__ void dequantize_pair_kernel(const std::uint32_t* hi, const std::uint32_t* lo,
                                       const std::uint8_t* scales, float decode_scale, std::int64_t words,
                                       uint4* out) {
  for (std::int64_t i = first_thread(); i < words; i += thread_count()) {
    const std::uint8_t scale = scales[i / 2];
    std::uint32_t four[4];
    decode_plane_words<T>(hi[i], lo[i], plane_unit<T>(scale, decode_scale), four);
    constexpr std::uint32_t kNan = PlaneUnits<T>::kNan;
    out[i] = (scale & 0x7F) == kE4m3Nan ? make_uint4(kNan, kNan, kNan, kNan)
                                        : make_uint4(four[0], four[1], four[2], four[3]);
  }
}

template <int P, bool Folded, class T>
void launch_dequantize(const PlanesView& planes, float decode_scale, std::int64_t rows, std::int64_t cols,
                       T* out, Stream stream) {
  const std::int64_t blocks = block_count(rows, cols);
  if constexpr (P == 2 && !Folded && !std::is_same_v<T, float>) {
    if (is_flat(out, cols, cols) && takes_plane_unit<T>(decode_scale)) {
      dequantize_pair_kernel<T><<<grid_for(2 * blocks), kThreads, 0, stream>>>(
          reinterpret_cast<const std::uint32_t*>(planes.codes),
          reinterpret_cast<const std::uint32_t*>(planes.lo), planes.scales, decode_scale, 2 * blocks,
          reinterpret_cast<uint4*>(out));
      return check_launch("dequantise planes");
    }
  }
  if (is_flat(out, cols, cols))
    dequantize_planes_kernel<P, Folded, true>
        <<<grid_for(blocks), kThreads, 0, stream>>>(planes, decode_scale, blocks, cols, out);
  else
    dequantize_planes_kernel<P, Folded, false>
        <<<grid_for(blocks), kThreads, 0, stream>>>(planes, decode_scale, blocks, cols, out);
  check_launch("dequantise planes");
}

template <int P, class T>
void dequantize_by_value(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                         std::int64_t cols, T* out, Stream stream) {
  if (value == PlaneValue::folded)
    launch_dequantize<P, true>(planes, decode_scale, rows, cols, out, stream);
  else
    launch_dequantize<P, false>(planes, decode_scale, rows, cols, out, stream);
}

template <int P, class T>
void launch_gather(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                   std::int64_t cols, const std::int64_t* ids, std::int64_t count, T* out, Stream stream) {
  const std::int64_t blocks = block_count(count, cols);
  const auto launch = [&](auto* kernel) {
    kernel<<<grid_for(blocks), kThreads, 0, stream>>>(planes, decode_scale, rows, cols, ids, blocks, out);
  };
  const bool flat = is_flat(out, cols, cols), folds = value == PlaneValue::folded;
  if (folds)
    flat ? launch(&gather_planes_kernel<P, true, true, T>) : launch(&gather_planes_kernel<P, true, false, T>);
  else
    flat ? launch(&gather_planes_kernel<P, false, true, T>)
         : launch(&gather_planes_kernel<P, false, false, T>);
  check_launch("gather from planes");
}

}  // namespace

template <class T>
void quantize_planes(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                     GlobalScale global, const LastPlane& last, const PlanesOut& out, NonFiniteReport report,
                     Stream stream) {
  quantize_by_count(x, rows, cols, stride, GlobalSource{nullptr, global}, last, out, report, stream);
}

template <class T>
void quantize_planes(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                     const GlobalScale* global, const LastPlane& last, const PlanesOut& out,
                     NonFiniteReport report, Stream stream) {
  quantize_by_count(x, rows, cols, stride, GlobalSource{global, {}}, last, out, report, stream);
}

template <class T>
void dequantize_planes(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                       std::int64_t cols, T* out, Stream stream) {
  check_decode_scale<T>(decode_scale);
  if (rows <= 0 || cols <= 0) return;
  switch (planes.count()) {
    case 1:
      return cuda::dequantize(planes.codes, planes.scales, decode_scale, rows, cols, out, stream);
    case 2:
      return dequantize_by_value<2>(planes, decode_scale, value, rows, cols, out, stream);
    default:
      return dequantize_by_value<3>(planes, decode_scale, value, rows, cols, out, stream);
  }
}

template <class T>
void gather_planes(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                   std::int64_t cols, const std::int64_t* ids, std::int64_t count, T* out, Stream stream) {
  check_decode_scale<T>(decode_scale);
  if (count <= 0 || cols <= 0) return;
  switch (planes.count()) {
    case 1:
      return launch_gather<1>(planes, decode_scale, value, rows, cols, ids, count, out, stream);
    case 2:
      return launch_gather<2>(planes, decode_scale, value, rows, cols, ids, count, out, stream);
    default:
      return launch_gather<3>(planes, decode_scale, value, rows, cols, ids, count, out, stream);
  }
}

#define TETRAD_INSTANTIATE(T)                                                                              \
  template void quantize_planes<T>(const T*, std::int64_t, std::int64_t, std::int64_t, GlobalScale,        \
                                   const LastPlane&, const PlanesOut&, NonFiniteReport, Stream);           \
  template void quantize_planes<T>(const T*, std::int64_t, std::int64_t, std::int64_t, const GlobalScale*, \
                                   const LastPlane&, const PlanesOut&, NonFiniteReport, Stream);           \
  template void dequantize_planes<T>(const PlanesView&, float, PlaneValue, std::int64_t, std::int64_t, T*, \
                                     Stream);                                                              \
  template void gather_planes<T>(const PlanesView&, float, PlaneValue, std::int64_t, std::int64_t,         \
                                 const std::int64_t*, std::int64_t, T*, Stream);
TETRAD_INSTANTIATE(float)
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::nvfp4::cuda
