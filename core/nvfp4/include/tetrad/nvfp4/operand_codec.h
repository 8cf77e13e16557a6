// Quantising what a low-precision training product reads, on the CPU: a matrix or its transpose, optionally
// rotated (random Hadamard transform), with the roundings and block scales of EncodeOptions. The plain
// definition that the CUDA kernels (cuda/operand_codec.h) equal bit for bit; profile te, blocks of 1 x 16.
//
// The operand M is x [rows, cols], or x^T [cols, rows] when transposed; blocks lie along M's rows, which are
// padded with zeros to a multiple of 16. codes and scales are M's, in codec.h's layout. Draws and first_row
// count M's rows. Non-finite values are marked and reported as in codec.h.
#pragma once

#include <tetrad/nvfp4/codec.h>

namespace tetrad::nvfp4 {

struct Operand {
  bool transposed = false;
  bool rotated = false;  // M's row length must be a multiple of 16 then: tetrad::Error(usage) otherwise
};

// The operand's amax: of the rotated values when it is rotated. first_bad counts in x: row * cols + col.
template <class T>
Amax operand_amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, Operand operand);

// Returns row * cols + col of the first element of x, in M's order, that was not finite, or -1. Throws
// tetrad::Error(usage) for another profile or 16 x 16 tiles.
template <class T>
std::int64_t quantize_operand(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                              Operand operand, GlobalScale global, const EncodeOptions& options,
                              std::uint8_t* codes, std::uint8_t* scales);

}  // namespace tetrad::nvfp4
