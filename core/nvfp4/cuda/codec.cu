// Compiled without contraction (-fmad=false) like every file whose results are compared bit by bit.
#include "nvfp4/checks.h"
#include "nvfp4/cuda/block_codec.h"
#include "nvfp4/cuda/fragment.h"
#include "nvfp4/cuda/kernel_support.cuh"
#include "nvfp4/cuda/tile_codec.h"

namespace tetrad::nvfp4::cuda {
namespace {

template <class T>
__device__ std::uint32_t pair_of(T value) {
  return value.bits | static_cast<std::uint32_t>(value.bits) << 16;
}

__device__ std::uint32_t greatest_of(const float (&values)[16]) {
  std::uint32_t greatest = 0;
#pragma unroll
  for (int k = 0; k < 16; ++k) greatest = max(greatest, abs_bits(values[k]));
  return greatest;
}

// One thread per 16 elements of a row, then one atomic per warp.
template <bool kFlat, class T>
__global__ void amax_kernel(const T* x, std::int64_t blocks, std::int64_t cols, std::int64_t stride,
                            std::uint32_t* amax_bits) {
  std::uint32_t greatest = 0;
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    float values[16];
    load_block_at<kFlat>(x, i, cols, stride, values);
    std::uint32_t of_block = greatest_of(values);
    if (!is_finite_bits(of_block)) {  // look again, passing over what is not finite
      of_block = 0;
#pragma unroll
      for (int k = 0; k < 16; ++k) {
        const std::uint32_t abs = abs_bits(values[k]);
        if (is_finite_bits(abs)) of_block = max(of_block, abs);
      }
    }
    greatest = max(greatest, of_block);
  }
  greatest = __reduce_max_sync(0xFFFFFFFFu, greatest);
  if (threadIdx.x % 32 == 0 && greatest != 0) atomicMax(amax_bits, greatest);
}

__global__ void global_scale_kernel(const std::uint32_t* amax_bits, EncodeOptions options,
                                    GlobalScale* global) {
  *global = nvfp4::global_scale(bits_float(*amax_bits), options);
}

// Encodes 16 loaded elements and stores codes and scale.
template <class T>
__device__ void encode_block(const float (&values)[16], std::uint32_t greatest, GlobalScale global,
                             std::uint8_t* codes, std::uint8_t* scale) {
  const BlockScale s = block_scale<T>(greatest, global);
  uint2 packed = make_uint2(0, 0);
  if (s.code != kE4m3Nan) {
    packed.x = e2m1_magnitudes(values, s.factor) | e2m1_signs(values);
    packed.y = e2m1_magnitudes(values + 8, s.factor) | e2m1_signs(values + 8);
  }
  *reinterpret_cast<uint2*>(codes) = packed;
  *scale = s.code;
}

// 1 x 16: one thread per block.
template <bool kFlat, class T>
__global__ void quantize_rows_kernel(const T* x, std::int64_t blocks, std::int64_t cols, std::int64_t stride,
                                     GlobalSource global, std::uint8_t* codes, std::uint8_t* scales,
                                     NonFiniteReport report) {
  const GlobalScale g = global.get();
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    float values[16];
    load_block_at<kFlat>(x, i, cols, stride, values);
    const std::uint32_t greatest = greatest_of(values);
    encode_block<T>(values, greatest, g, codes + i * 8, scales + i);
    if (!is_finite_bits(greatest)) say_non_finite(report);
  }
}

// 1 x 16: what quantise and dequantise would give one after the other. A global scale on the device brings
// its own decode scale.
template <bool kFlat, class T, class Out>
__global__ void requantize_kernel(const T* x, std::int64_t blocks, std::int64_t cols, GlobalSource global,
                                  float decode_scale, Out* out, NonFiniteReport report) {
  const GlobalScale g = global.get();
  if (global.device != nullptr) decode_scale = g.decode;
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    float values[16];
    load_block_at<kFlat>(x, i, cols, cols, values);
    const std::uint32_t greatest = greatest_of(values);
    const BlockScale s = block_scale<T>(greatest, g);
    const float scale = e4m3_decode(s.code);
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      const float magnitude = e2m1_round_magnitude(values[k] * s.factor);
      const float unscaled = copysignf(magnitude, values[k]) * scale;
      values[k] = s.code == kE4m3Nan ? bits_float(kFloatNan) : unscaled * decode_scale;
    }
    store_block_at<kFlat>(values, i, cols, out);
    if (!is_finite_bits(greatest)) say_non_finite(report);
  }
}

template <bool kFlat, class T>
__global__ void dequantize_kernel(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale,
                                  std::int64_t blocks, std::int64_t cols, T* out) {
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    const uint2 packed = reinterpret_cast<const uint2*>(codes)[i];
    const std::uint8_t scale_code = scales[i];
    const bool nan = (scale_code & 0x7F) == kE4m3Nan;
    const float scale = e4m3_decode(scale_code);
    float values[16];
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      const std::uint32_t code = ((k < 8 ? packed.x : packed.y) >> (4 * (k % 8))) & 0xFu;
      const float unscaled = e2m1_decode(code) * scale;
      values[k] = nan ? bits_float(kFloatNan) : unscaled * decode_scale;
    }
    store_block_at<kFlat>(values, i, cols, out);
  }
}

// The same for 16-bit results, 16 codes at a time in pairs; decode_scale must be a power of two that T holds
// together with kUnscale. Every step is exact but, in fp16, the last, which rounds as the reference does.
template <bool kFlat, class T>
__global__ void dequantize_pairs_kernel(const std::uint8_t* codes, const std::uint8_t* scales,
                                        float decode_scale, std::int64_t blocks, std::int64_t cols, T* out) {
  const std::uint32_t last = pair_of(from_float<T>(decode_scale * Fragment<T>::kUnscale));
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    const uint2 packed = reinterpret_cast<const uint2*>(codes)[i];
    const std::uint8_t scale_code = scales[i];
    // A scale's sign, which no encoder writes, is kept: the reference keeps it.
    const std::uint32_t scale = scale_pair<T>(scale_code & 0x7Fu, 0) ^ ((scale_code & 0x80u) * 0x01000100u);
    uint4 result[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::uint32_t p[4];  // (0, 4) (1, 5) (2, 6) (3, 7)
      weight_pairs<T>(half == 0 ? packed.x : packed.y, scale, moves<T>(), p);
#pragma unroll
      for (int j = 0; j < 4; ++j) p[j] = mul_pair<T>(p[j], last);
      result[half] = make_uint4(__byte_perm(p[0], p[1], 0x5410), __byte_perm(p[2], p[3], 0x5410),
                                __byte_perm(p[0], p[1], 0x7632), __byte_perm(p[2], p[3], 0x7632));
    }
    if ((scale_code & 0x7F) == kE4m3Nan) {  // the reference's NaN, not the multiplier's
      const std::uint32_t nan = pair_of(from_float<T>(bits_float(kFloatNan)));
      result[0] = result[1] = make_uint4(nan, nan, nan, nan);
    }
    if constexpr (kFlat) {
      reinterpret_cast<uint4*>(out + i * kBlock)[0] = result[0];
      reinterpret_cast<uint4*>(out + i * kBlock)[1] = result[1];
    } else {
      const Place p = place_of(i, cols);
      const T* values = reinterpret_cast<const T*>(result);
#pragma unroll
      for (int k = 0; k < 16; ++k) {
        if (k < p.left) out[p.row * cols + p.col + k] = values[k];
      }
    }
  }
}

template <class T>
void quantize_from(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                   const GlobalSource& global, const EncodeOptions& options, std::uint8_t* codes,
                   std::uint8_t* scales, NonFiniteReport report, Stream stream) {
  if (options.profile != Profile::te) {
    throw Error(ExitCode::usage,
                "[nvfp4] quantise on CUDA: only profile te runs on the device; encode on the CPU");
  }
  if (!options.plain()) {
    throw Error(ExitCode::usage,
                "[nvfp4] quantise on CUDA: stochastic rounding and block target four_or_six are "
                "quantize_operand's (blocks of 1 x 16); 16 x 16 tiles have them on the CPU alone");
  }
  if (rows <= 0 || cols <= 0) return;
  const std::int64_t blocks = block_count(rows, cols);
  if (options.block == BlockShape::tile16x16) {
    quantize_tiles(x, rows, cols, stride, global.device, global.host, codes, scales, report, stream);
    return;
  }
  if (is_flat(x, cols, stride)) {
    quantize_rows_kernel<true, T>
        <<<grid_for(blocks), kThreads, 0, stream>>>(x, blocks, cols, stride, global, codes, scales, report);
  } else {
    quantize_rows_kernel<false, T>
        <<<grid_for(blocks), kThreads, 0, stream>>>(x, blocks, cols, stride, global, codes, scales, report);
  }
  check_launch("quantise");
}

template <class T, class Out>
void requantize_from(const T* x, std::int64_t rows, std::int64_t cols, const GlobalSource& source,
                     float decode_scale, Out* out, NonFiniteReport report, Stream stream) {
  if (rows <= 0 || cols <= 0) return;
  const std::int64_t blocks = block_count(rows, cols);
  if (is_flat(x, cols, cols) && is_flat(out, cols, cols))
    requantize_kernel<true, T, Out>
        <<<grid_for(blocks), kThreads, 0, stream>>>(x, blocks, cols, source, decode_scale, out, report);
  else
    requantize_kernel<false, T, Out>
        <<<grid_for(blocks), kThreads, 0, stream>>>(x, blocks, cols, source, decode_scale, out, report);
  check_launch("requantise");
}

// Whether dequantize_pairs_kernel serves: the last factor must be a T.
template <class T>
bool takes_pairs(float decode_scale) {
  if constexpr (sizeof(T) == 4) {
    return false;
  } else {
    const float last = decode_scale * Fragment<T>::kUnscale;
    return is_power_of_two(last) && to_float(from_float<T>(last)) == last;
  }
}

}  // namespace

template <class T>
void amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, std::uint32_t* amax_bits,
          Stream stream) {
  if (rows <= 0 || cols <= 0) return;
  // Few enough threads that each sees several blocks, many enough to fill any device.
  const std::int64_t blocks = block_count(rows, cols);
  const unsigned grid = static_cast<unsigned>(std::min<std::int64_t>(grid_for(blocks), 2048));
  if (is_flat(x, cols, stride))
    amax_kernel<true, T><<<grid, kThreads, 0, stream>>>(x, blocks, cols, stride, amax_bits);
  else
    amax_kernel<false, T><<<grid, kThreads, 0, stream>>>(x, blocks, cols, stride, amax_bits);
  check_launch("amax");
}

void global_scale(const std::uint32_t* amax_bits, const EncodeOptions& options, GlobalScale* global,
                  Stream stream) {
  global_scale_kernel<<<1, 1, 0, stream>>>(amax_bits, options, global);
  check_launch("global scale");
}

template <class T>
void quantize(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
              const GlobalScale* global, const EncodeOptions& options, std::uint8_t* codes,
              std::uint8_t* scales, NonFiniteReport report, Stream stream) {
  quantize_from(x, rows, cols, stride, GlobalSource{global, {}}, options, codes, scales, report, stream);
}

template <class T>
void quantize(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale global,
              const EncodeOptions& options, std::uint8_t* codes, std::uint8_t* scales, NonFiniteReport report,
              Stream stream) {
  quantize_from(x, rows, cols, stride, GlobalSource{nullptr, global}, options, codes, scales, report, stream);
}

template <class T, class Out>
void requantize(const T* x, std::int64_t rows, std::int64_t cols, GlobalScale global, float decode_scale,
                Out* out, NonFiniteReport report, Stream stream) {
  check_decode_scale<Out>(decode_scale);
  requantize_from(x, rows, cols, GlobalSource{nullptr, global}, decode_scale, out, report, stream);
}

template <class T, class Out>
void requantize(const T* x, std::int64_t rows, std::int64_t cols, const GlobalScale* global, Out* out,
                NonFiniteReport report, Stream stream) {
  requantize_from(x, rows, cols, GlobalSource{global, {}}, 1.0f, out, report, stream);
}

template <class T>
void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, T* out, Stream stream) {
  check_decode_scale<T>(decode_scale);
  if (rows <= 0 || cols <= 0) return;
  const std::int64_t blocks = block_count(rows, cols);
  const bool flat = is_flat(out, cols, cols);
  if constexpr (sizeof(T) == 2) {
    if (takes_pairs<T>(decode_scale)) {
      if (flat)
        dequantize_pairs_kernel<true, T>
            <<<grid_for(blocks), kThreads, 0, stream>>>(codes, scales, decode_scale, blocks, cols, out);
      else
        dequantize_pairs_kernel<false, T>
            <<<grid_for(blocks), kThreads, 0, stream>>>(codes, scales, decode_scale, blocks, cols, out);
      check_launch("dequantise");
      return;
    }
  }
  if (flat)
    dequantize_kernel<true, T>
        <<<grid_for(blocks), kThreads, 0, stream>>>(codes, scales, decode_scale, blocks, cols, out);
  else
    dequantize_kernel<false, T>
        <<<grid_for(blocks), kThreads, 0, stream>>>(codes, scales, decode_scale, blocks, cols, out);
  check_launch("dequantise");
}

#define TETRAD_INSTANTIATE(T)                                                                              \
  template void amax<T>(const T*, std::int64_t, std::int64_t, std::int64_t, std::uint32_t*, Stream);       \
  template void quantize<T>(const T*, std::int64_t, std::int64_t, std::int64_t, const GlobalScale*,        \
                            const EncodeOptions&, std::uint8_t*, std::uint8_t*, NonFiniteReport, Stream);  \
  template void quantize<T>(const T*, std::int64_t, std::int64_t, std::int64_t, GlobalScale,               \
                            const EncodeOptions&, std::uint8_t*, std::uint8_t*, NonFiniteReport, Stream);  \
  template void dequantize<T>(const std::uint8_t*, const std::uint8_t*, float, std::int64_t, std::int64_t, \
                              T*, Stream);                                                                 \
  template void requantize<T, T>(const T*, std::int64_t, std::int64_t, GlobalScale, float, T*,             \
                                 NonFiniteReport, Stream);                                                 \
  template void requantize<T, T>(const T*, std::int64_t, std::int64_t, const GlobalScale*, T*,             \
                                 NonFiniteReport, Stream);
TETRAD_INSTANTIATE(float)
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE
template void requantize<Bf16, float>(const Bf16*, std::int64_t, std::int64_t, GlobalScale, float, float*,
                                      NonFiniteReport, Stream);
template void requantize<Fp16, float>(const Fp16*, std::int64_t, std::int64_t, GlobalScale, float, float*,
                                      NonFiniteReport, Stream);
template void requantize<float, Bf16>(const float*, std::int64_t, std::int64_t, GlobalScale, float, Bf16*,
                                      NonFiniteReport, Stream);
template void requantize<float, Fp16>(const float*, std::int64_t, std::int64_t, GlobalScale, float, Fp16*,
                                      NonFiniteReport, Stream);
template void requantize<Bf16, Fp16>(const Bf16*, std::int64_t, std::int64_t, GlobalScale, float, Fp16*,
                                     NonFiniteReport, Stream);
template void requantize<Fp16, Bf16>(const Fp16*, std::int64_t, std::int64_t, GlobalScale, float, Bf16*,
                                     NonFiniteReport, Stream);

}  // namespace tetrad::nvfp4::cuda
