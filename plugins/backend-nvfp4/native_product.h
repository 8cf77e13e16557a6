// W4A4 on FP4 tensor cores (compute: native): both operands in NVFP4 through libtorch's scaled_mm, which is
// cuBLASLt's product of 4-bit values with a block scale for every 16 of them (VEC16_UE4M3) and fp32 sums that
// are multiplied by the product of both global scales: the formula of `activations: nvfp4` under compute:
// emulated, up to the order of summation. Here the operands are brought into the form that it reads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "tensor_codec.h"

namespace tetrad::backend_nvfp4 {

// A matrix [rows, cols] whose rows are multiplied: value (r, c) = code * block scale * decode.
struct Fp4Operand {
  // uint8 [R, Kp / 2], low nibble first; Kp is cols on multiples of 32 (16 bytes), R is rows, or rows on
  // multiples of 16 when asked for; padding is 0.
  at::Tensor codes;
  // uint8 [swizzled_size(rows, Kp / 16)]: E4M3 in tiles of 128 x 4 (tetrad/nvfp4/scale_layout.h).
  at::Tensor scales;
  at::Tensor decode;  // fp32 [1]
  std::int64_t rows = 0;

  std::int64_t bytes() const;
};

// From codes [rows, K / 2] and scales [rows, K / 16] with K a multiple of 16, as the codec makes them; codes
// are taken over without a copy where nothing is to be padded. pad_rows: for the right operand.
Fp4Operand fp4_operand(const TensorCodec& codec, const at::Tensor& codes, const at::Tensor& scales,
                       const at::Tensor& decode, bool pad_rows);

// x [T, K] in bf16 or fp32 as the left operand: quantised as TensorCodec::activations does it.
Fp4Operand activation_operand(const TensorCodec& codec, const at::Tensor& x);

// x * w^T [x.rows, w.rows] in dtype; w with padded rows. A device without FP4 tensor cores refuses it
// (c10::Error): ask DeviceKernels::why_no_fp4 first.
using Fp4Product = at::Tensor (*)(const Fp4Operand& x, const Fp4Operand& w, at::ScalarType dtype);
at::Tensor fp4_product(const Fp4Operand& x, const Fp4Operand& w, at::ScalarType dtype);

}  // namespace tetrad::backend_nvfp4
