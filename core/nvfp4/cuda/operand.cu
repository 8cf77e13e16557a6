// Compiled without contraction (-fmad=false) like every file whose results are compared bit by bit.
#include <tetrad/nvfp4/block_encode.h>
#include <tetrad/nvfp4/cuda/operand_codec.h>

#include "nvfp4/checks.h"
#include "nvfp4/cuda/kernel_support.cuh"

namespace tetrad::nvfp4::cuda {
namespace {

// The operand M as a kernel sees it: x itself or its transpose.
template <class T>
struct Matrix {
  const T* x;
  std::int64_t rows, cols, stride;  // of x
  bool rotated;
};

// Thread i's block. x itself: block i of M in order. Transposed: neighbouring threads take neighbouring
// columns of x, so that each of the 16 loads of a warp is one piece of memory.
template <bool kTransposed>
__device__ std::int64_t block_of_thread(std::int64_t i, std::int64_t cols, std::int64_t row_blocks) {
  if constexpr (!kTransposed) return i;
  return i % cols * row_blocks + i / cols;
}

template <bool kTransposed, class T>
__device__ void load_operand(const Matrix<T>& m, std::int64_t i, float (&values)[16]) {
  if constexpr (kTransposed) {
    const std::int64_t first = i / m.cols * kBlock, col = i % m.cols;
#pragma unroll
    for (int k = 0; k < 16; ++k)
      values[k] = first + k < m.rows ? to_float(m.x[(first + k) * m.stride + col]) : 0.0f;
  } else {
    const Place p = place_of(i, m.cols);
    load_block(m.x + p.row * m.stride + p.col, p.left, values);
  }
  if (m.rotated) rotate16(values);
}

template <bool kTransposed, class T>
__global__ void operand_amax_kernel(Matrix<T> m, std::int64_t blocks, std::uint32_t* amax_bits) {
  std::uint32_t greatest = 0;
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    float values[16];
    load_operand<kTransposed>(m, i, values);
#pragma unroll
    for (int k = 0; k < 16; ++k) {
      const std::uint32_t abs = abs_bits(values[k]);
      if (is_finite_bits(abs)) greatest = max(greatest, abs);
    }
  }
  greatest = __reduce_max_sync(0xFFFFFFFFu, greatest);
  if (threadIdx.x % 32 == 0 && greatest != 0) atomicMax(amax_bits, greatest);
}

template <bool kTransposed, class T>
__global__ void quantize_operand_kernel(Matrix<T> m, std::int64_t blocks, std::int64_t row_blocks,
                                        GlobalSource source, EncodeOptions options, std::uint8_t* codes,
                                        std::uint8_t* scales, NonFiniteReport report) {
  const GlobalScale global = source.get();
  for (std::int64_t i = first_thread(); i < blocks; i += thread_count()) {
    float values[16];
    load_operand<kTransposed>(m, i, values);
    const std::int64_t block = block_of_thread<kTransposed>(i, m.cols, row_blocks);
    BlockCodes encoded;
    const std::uint8_t scale =
        encode_row16(values, global, options, options.first_row * row_blocks + block, encoded);
    scales[block] = scale;
    store_codes(encoded, codes + block * 8);
    if (scale == kE4m3Nan) say_non_finite(report);
  }
}

// One thread per four neighbouring scales of the swizzled form.
__global__ void swizzle_kernel(const std::uint8_t* scales, std::int64_t rows, std::int64_t columns,
                               std::int64_t words, uchar4* out) {
  const std::int64_t tile_columns = (columns + 3) / 4;
  for (std::int64_t i = first_thread(); i < words; i += thread_count()) {
    const std::int64_t tile = i / 128, inside = i % 128;
    const std::int64_t r = tile / tile_columns * 128 + inside % 4 * 32 + inside / 4;
    const std::int64_t c = tile % tile_columns * 4;
    const auto at = [&](int k) -> unsigned char {
      return r < rows && c + k < columns ? scales[r * columns + c + k] : 0;
    };
    out[i] = make_uchar4(at(0), at(1), at(2), at(3));
  }
}

__global__ void unswizzle_kernel(const std::uint8_t* swizzled, std::int64_t count, std::int64_t columns,
                                 std::uint8_t* out) {
  for (std::int64_t i = first_thread(); i < count; i += thread_count())
    out[i] = swizzled[swizzled_offset(i / columns, i % columns, columns)];
}

template <class T>
void quantize_from(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand,
                   const GlobalSource& global, const EncodeOptions& options, std::uint8_t* codes,
                   std::uint8_t* scales, NonFiniteReport report, Stream stream) {
  check_operand_options(options);
  check_rotation(operand.rotated, operand.transposed ? rows : cols);
  if (rows <= 0 || cols <= 0) return;
  const Matrix<T> m{x, rows, cols, stride, operand.rotated};
  if (operand.transposed) {
    const std::int64_t blocks = block_count(cols, rows);
    quantize_operand_kernel<true><<<grid_for(blocks), kThreads, 0, stream>>>(
        m, blocks, block_count(1, rows), global, options, codes, scales, report);
  } else {
    const std::int64_t blocks = block_count(rows, cols);
    quantize_operand_kernel<false><<<grid_for(blocks), kThreads, 0, stream>>>(
        m, blocks, block_count(1, cols), global, options, codes, scales, report);
  }
  check_launch("quantise an operand");
}

}  // namespace

template <class T>
void operand_amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand,
                  std::uint32_t* amax_bits, Stream stream) {
  check_rotation(operand.rotated, operand.transposed ? rows : cols);
  if (rows <= 0 || cols <= 0) return;
  const Matrix<T> m{x, rows, cols, stride, operand.rotated};
  const std::int64_t blocks = operand.transposed ? block_count(cols, rows) : block_count(rows, cols);
  const unsigned grid = static_cast<unsigned>(std::min<std::int64_t>(grid_for(blocks), 2048));
  if (operand.transposed)
    operand_amax_kernel<true><<<grid, kThreads, 0, stream>>>(m, blocks, amax_bits);
  else
    operand_amax_kernel<false><<<grid, kThreads, 0, stream>>>(m, blocks, amax_bits);
  check_launch("amax of an operand");
}

template <class T>
void quantize_operand(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand,
                      const GlobalScale* global, const EncodeOptions& options, std::uint8_t* codes,
                      std::uint8_t* scales, NonFiniteReport report, Stream stream) {
  quantize_from(x, rows, cols, stride, operand, GlobalSource{global, {}}, options, codes, scales, report,
                stream);
}

template <class T>
void quantize_operand(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand,
                      GlobalScale global, const EncodeOptions& options, std::uint8_t* codes,
                      std::uint8_t* scales, NonFiniteReport report, Stream stream) {
  quantize_from(x, rows, cols, stride, operand, GlobalSource{nullptr, global}, options, codes, scales, report,
                stream);
}

void swizzle_scales(const std::uint8_t* scales, std::int64_t rows, std::int64_t columns, std::uint8_t* out,
                    Stream stream) {
  const std::int64_t words = swizzled_size(rows, columns) / 4;
  if (words <= 0) return;
  swizzle_kernel<<<grid_for(words), kThreads, 0, stream>>>(scales, rows, columns, words,
                                                           reinterpret_cast<uchar4*>(out));
  check_launch("swizzle scales");
}

void unswizzle_scales(const std::uint8_t* swizzled, std::int64_t rows, std::int64_t columns,
                      std::uint8_t* out, Stream stream) {
  if (rows <= 0 || columns <= 0) return;
  unswizzle_kernel<<<grid_for(rows * columns), kThreads, 0, stream>>>(swizzled, rows * columns, columns, out);
  check_launch("unswizzle scales");
}

#define TETRAD_INSTANTIATE(T)                                                                                \
  template void operand_amax<T>(const T*, std::int64_t, std::int64_t, std::int64_t, Operand, std::uint32_t*, \
                                Stream);                                                                     \
  template void quantize_operand<T>(const T*, std::int64_t, std::int64_t, std::int64_t, Operand,             \
                                    const GlobalScale*, const EncodeOptions&, std::uint8_t*, std::uint8_t*,  \
                                    NonFiniteReport, Stream);                                                \
  template void quantize_operand<T>(const T*, std::int64_t, std::int64_t, std::int64_t, Operand,             \
                                    GlobalScale, const EncodeOptions&, std::uint8_t*, std::uint8_t*,         \
                                    NonFiniteReport, Stream);
TETRAD_INSTANTIATE(float)
TETRAD_INSTANTIATE(Bf16)
TETRAD_INSTANTIATE(Fp16)
#undef TETRAD_INSTANTIATE

}  // namespace tetrad::nvfp4::cuda
