// The operands of low-precision training products on a CUDA device (library tetrad_nvfp4_cuda), bit-exact to
// operand_codec.h because the kernels run the functions of block_encode.h; and the block-scale layout of
// Blackwell's FP4 GEMMs, as scale_layout.h does it. Every pointer is a device pointer, codes 8-byte aligned.
// The functions only enqueue on `stream`, never synchronise, and throw tetrad::Error(runtime) when a launch
// is refused, tetrad::Error(usage) for what operand_codec.h refuses. T is float, Bf16 or Fp16.
#pragma once

#include <tetrad/nvfp4/cuda.h>
#include <tetrad/nvfp4/operand_codec.h>
#include <tetrad/nvfp4/scale_layout.h>

namespace tetrad::nvfp4::cuda {

// *amax_bits = max(*amax_bits, bits of the operand's amax); the caller zeroes it first.
template <class T>
void operand_amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand,
                  std::uint32_t* amax_bits, Stream stream);

// `global` where cuda::global_scale left it on the device.
template <class T>
void quantize_operand(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand,
                      const GlobalScale* global, const EncodeOptions& options, std::uint8_t* codes,
                      std::uint8_t* scales, NonFiniteReport report, Stream stream);

// The same with the scale given by the host.
template <class T>
void quantize_operand(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand,
                      GlobalScale global, const EncodeOptions& options, std::uint8_t* codes,
                      std::uint8_t* scales, NonFiniteReport report, Stream stream);

// scales (rows, columns) -> out, swizzled_size(rows, columns) bytes at a 4-byte aligned address, padding
// zeroed; and back, padding not looked at.
void swizzle_scales(const std::uint8_t* scales, std::int64_t rows, std::int64_t columns, std::uint8_t* out,
                    Stream stream);
void unswizzle_scales(const std::uint8_t* swizzled, std::int64_t rows, std::int64_t columns,
                      std::uint8_t* out, Stream stream);

}  // namespace tetrad::nvfp4::cuda
