// y = x * W^T on a CUDA device with W left in NVFP4, for the 1 to 16 rows of x of a decode step: only packed
// bytes are read (0.5625 a weight; 1.0625 with a lo plane), decoded in registers to code * block scale, which
// is exact in bf16 and fp16, and multiplied on the tensor cores with fp32 sums. The global scale is the
// epilogue's fp32 alpha. Runs from sm_80 up: no wgmma, at most 48 KB of shared memory a block, which every
// device has without asking (packed_linear_launch.cuh asserts it).
//
// Several weights that share x go in one launch (q, k, v; gate, up). Sums are taken in an order that depends
// on the weights' shape alone: a row of y is the same bit for bit whatever the number of rows beside it.
//   |error| <= (k / 16 + 32) * 2^-22 * |alpha| * sum |x * code * block scale|   before y is rounded to its
//   type
// A NaN block scale makes its row of y NaN. All pointers are device pointers; the call only enqueues.
#pragma once

#include <tetrad/nvfp4/codec.h>

#include <span>

struct CUstream_st;

namespace tetrad::nvfp4::cuda {

using Stream = CUstream_st*;  // cudaStream_t, without the CUDA headers

inline constexpr int kMaxPackedRows = 16;  // rows of x
inline constexpr int kMaxPackedGroup = 4;  // weights in one launch

// A weight [rows, k] laid out as in codec.h, and where its product goes.
struct PackedLinear {
  const std::uint8_t* codes = nullptr;  // 8-byte aligned
  const std::uint8_t* scales = nullptr;
  const std::uint8_t* lo_codes = nullptr;  // of a weight hi + lo / 4 that shares the block scales, or null
  float alpha = 1.0f;
  std::int64_t rows = 0;
  void* y = nullptr;  // [m, rows], y_stride elements from row to row
  std::int64_t y_stride = 0;
};

enum class PackedEpilogue : std::uint8_t {
  store,  // y = T(alpha * sum)
  add,    // y = T(T(alpha * sum) + y): the residual stream, updated in place
  // Two weights of equal rows, gate and up: y of the first = T(silu(gate) * up), rounded to T after alpha,
  // after silu and after the product, as the plain operations round. The second's y is not used.
  silu_mul,
};

// x [m, k] of T (Bf16 or Fp16), x_stride elements from row to row, 1 <= m <= kMaxPackedRows. y is of type T,
// or float with float_out (epilogue store only: logits). Throws tetrad::Error(usage) for arguments outside
// this contract, tetrad::Error(runtime) when a launch is refused.
template <class T>
void packed_linear(const T* x, int m, std::int64_t k, std::int64_t x_stride,
                   std::span<const PackedLinear> weights, PackedEpilogue epilogue, bool float_out,
                   Stream stream);

}  // namespace tetrad::nvfp4::cuda
