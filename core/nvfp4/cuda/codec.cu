// Compiled without contraction (-fmad=false) like every file whose results are compared bit by bit.
#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/cuda.h>

#include <algorithm>
#include <string>

#include "nvfp4/checks.h"
#include "nvfp4/cuda/block_io.cuh"

namespace tetrad::nvfp4::cuda {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMaxGrid = 1 << 20;  // kernels stride over what is beyond

unsigned grid_for(std::int64_t threads) {
  return static_cast<unsigned>(std::min((threads + kThreads - 1) / kThreads, kMaxGrid));
}

void check_launch(const char* what) {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) {
    throw Error(std::string("[nvfp4] ") + what +
                ": the device refused the kernel: " + cudaGetErrorString(status));
  }
}

__device__ std::int64_t first_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}
__device__ std::int64_t thread_count() {
  return static_cast<std::int64_t>(gridDim.x) * kThreads;
}

// One thread per 16 elements of a row, then one atomic per warp.
template <class T>
__global__ void amax_kernel(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                            std::uint32_t* amax_bits) {
  const std::int64_t row_blocks = (cols + kBlock - 1) / kBlock;
  std::uint32_t greatest = 0;
  for (std::int64_t i = first_thread(); i < rows * row_blocks; i += thread_count()) {
    const std::int64_t r = i / row_blocks;
    const std::int64_t c = i % row_blocks * kBlock;
    float values[16];
    load_block(x + r * stride + c, cols - c, values);
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      const std::uint32_t abs = abs_bits(values[k]);
      if (is_finite_bits(abs) && abs > greatest) greatest = abs;
    }
  }
  greatest = __reduce_max_sync(0xFFFFFFFFu, greatest);
  if (threadIdx.x % 32 == 0 && greatest != 0) atomicMax(amax_bits, greatest);
}

__global__ void global_scale_kernel(const std::uint32_t* amax_bits, EncodeOptions options,
                                    GlobalScale* global) {
  *global = nvfp4::global_scale(bits_float(*amax_bits), options);
}

// Encodes 16 loaded elements whose scale group has the maximum `greatest` (as bits) and stores codes and
// scale.
template <class T>
__device__ void encode_block(const float (&values)[16], std::uint32_t greatest, GlobalScale global,
                             std::uint8_t* codes, std::uint8_t* scale) {
  using Encoder = BlockEncoder<Profile::te, T>;
  uint2 packed = make_uint2(0, 0);
  std::uint8_t scale_code = kE4m3Nan;
  if (is_finite_bits(greatest)) {
    scale_code = Encoder::scale(bits_float(greatest), global);
    const float factor = Encoder::factor(scale_code, global);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      packed.x |= static_cast<std::uint32_t>(Encoder::code(values[i], factor)) << (4 * i);
      packed.y |= static_cast<std::uint32_t>(Encoder::code(values[8 + i], factor)) << (4 * i);
    }
  }
  *reinterpret_cast<uint2*>(codes) = packed;
  *scale = scale_code;
}

__device__ void say_non_finite(NonFiniteReport report) {
  if (report.word != nullptr) atomicCAS(report.word, 0ull, report.tag);
}

// 1 x 16: one thread per block.
template <class T>
__global__ void quantize_rows_kernel(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                                     const GlobalScale* global, std::uint8_t* codes, std::uint8_t* scales,
                                     NonFiniteReport report) {
  const GlobalScale g = *global;
  const std::int64_t row_blocks = (cols + kBlock - 1) / kBlock;
  for (std::int64_t i = first_thread(); i < rows * row_blocks; i += thread_count()) {
    const std::int64_t r = i / row_blocks;
    const std::int64_t c = i % row_blocks * kBlock;
    float values[16];
    load_block(x + r * stride + c, cols - c, values);
    std::uint32_t greatest = 0;
#pragma unroll
    for (int k = 0; k < 16; ++k) greatest = max(greatest, abs_bits(values[k]));
    encode_block<T>(values, greatest, g, codes + i * 8, scales + i);
    if (!is_finite_bits(greatest)) say_non_finite(report);
  }
}

// 16 x 16: sixteen neighbouring threads share a tile, one row each; a warp works on two tiles. All lanes of a
// warp stay in the loop together, so that the shuffles always meet.
template <class T>
__global__ void quantize_tiles_kernel(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                                      const GlobalScale* global, std::uint8_t* codes, std::uint8_t* scales,
                                      NonFiniteReport report) {
  const GlobalScale g = *global;
  const std::int64_t row_blocks = (cols + kBlock - 1) / kBlock;
  const std::int64_t tiles = (rows + kBlock - 1) / kBlock * row_blocks;
  const std::int64_t lane_row = threadIdx.x % 16;
  for (std::int64_t warp_tile = first_thread() / 32 * 2; warp_tile < tiles;
       warp_tile += thread_count() / 16) {
    const std::int64_t tile = warp_tile + threadIdx.x % 32 / 16;
    const std::int64_t r = tile / row_blocks * kBlock + lane_row;
    const std::int64_t c = tile % row_blocks * kBlock;
    const bool mine = tile < tiles && r < rows;
    float values[16];
    std::uint32_t greatest = 0;
    if (mine) {
      load_block(x + r * stride + c, cols - c, values);
#pragma unroll
      for (int k = 0; k < 16; ++k) greatest = max(greatest, abs_bits(values[k]));
    }
#pragma unroll
    for (int step = 8; step > 0; step /= 2)
      greatest = max(greatest, __shfl_xor_sync(0xFFFFFFFFu, greatest, step, 16));
    if (mine) {
      const std::int64_t block = r * row_blocks + c / kBlock;
      encode_block<T>(values, greatest, g, codes + block * 8, scales + block);
      if (!is_finite_bits(greatest)) say_non_finite(report);
    }
  }
}

template <class T>
__global__ void dequantize_kernel(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale,
                                  std::int64_t rows, std::int64_t cols, T* out) {
  const std::int64_t row_blocks = (cols + kBlock - 1) / kBlock;
  for (std::int64_t i = first_thread(); i < rows * row_blocks; i += thread_count()) {
    const std::int64_t r = i / row_blocks;
    const std::int64_t c = i % row_blocks * kBlock;
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
    store_block(values, cols - c, out + r * cols + c);
  }
}

std::int64_t block_count(std::int64_t rows, std::int64_t cols) {
  return rows * ((cols + kBlock - 1) / kBlock);
}

}  // namespace

template <class T>
void amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, std::uint32_t* amax_bits,
          Stream stream) {
  if (rows <= 0 || cols <= 0) return;
  // Few enough threads that each sees several blocks, many enough to fill any device.
  const unsigned grid =
      static_cast<unsigned>(std::min<std::int64_t>(grid_for(block_count(rows, cols)), 2048));
  amax_kernel<T><<<grid, kThreads, 0, stream>>>(x, rows, cols, stride, amax_bits);
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
  if (options.profile != Profile::te) {
    throw Error(ExitCode::usage,
                "[nvfp4] quantise on CUDA: only profile te runs on the device; encode on the CPU");
  }
  if (rows <= 0 || cols <= 0) return;
  if (options.block == BlockShape::tile16x16) {
    const std::int64_t tiles = block_count((rows + kBlock - 1) / kBlock, cols);
    quantize_tiles_kernel<T>
        <<<grid_for(tiles * 16), kThreads, 0, stream>>>(x, rows, cols, stride, global, codes, scales, report);
  } else {
    quantize_rows_kernel<T><<<grid_for(block_count(rows, cols)), kThreads, 0, stream>>>(
        x, rows, cols, stride, global, codes, scales, report);
  }
  check_launch("quantise");
}

template <class T>
void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, T* out, Stream stream) {
  check_decode_scale<T>(decode_scale);
  if (rows <= 0 || cols <= 0) return;
  dequantize_kernel<T><<<grid_for(block_count(rows, cols)), kThreads, 0, stream>>>(
      codes, scales, decode_scale, rows, cols, out);
  check_launch("dequantise");
}

#define TETRAD_INSTANTIATE(T)                                                                              \
  template void amax<T>(const T*, std::int64_t, std::int64_t, std::int64_t, std::uint32_t*, Stream);       \
  template void quantize<T>(const T*, std::int64_t, std::int64_t, std::int64_t, const GlobalScale*,        \
                            const EncodeOptions&, std::uint8_t*, std::uint8_t*, NonFiniteReport, Stream);  \
  template void dequantize<T>(const std::uint8_t*, const std::uint8_t*, float, std::int64_t, std::int64_t, \
                              T*, Stream);
TETRAD_INSTANTIATE(float)
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::nvfp4::cuda
