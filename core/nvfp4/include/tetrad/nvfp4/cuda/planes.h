// Tied planes on a CUDA device (library tetrad_nvfp4_cuda), bit-exact to plane_codec.h because the kernels
// run the functions of planes.h. Layouts and meanings are plane_codec.h's; every pointer is a device pointer,
// the planes' codes 8-byte aligned. The functions only enqueue on `stream`, never synchronise, and throw
// tetrad::Error(runtime) when a launch is refused. T is float, Bf16 or Fp16.
#pragma once

#include <tetrad/nvfp4/cuda.h>
#include <tetrad/nvfp4/plane_codec.h>

namespace tetrad::nvfp4::cuda {

// x [rows, cols], `stride` elements from row to row. A block that meets a non-finite value is marked (scale
// 0x7F, zero codes in every plane) and reported as by quantize.
template <class T>
void quantize_planes(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                     GlobalScale global, const LastPlane& last, const PlanesOut& out, NonFiniteReport report,
                     Stream stream);

// The same with the scale where global_scale left it on the device.
template <class T>
void quantize_planes(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                     const GlobalScale* global, const LastPlane& last, const PlanesOut& out,
                     NonFiniteReport report, Stream stream);

// out dense [rows, cols]; the same rule for 16-bit outputs (tetrad::Error(usage) otherwise).
template <class T>
void dequantize_planes(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                       std::int64_t cols, T* out, Stream stream);

// out[i] = row ids[i], dense [count, cols], ids on the device: what dequantize_planes makes of that row. A
// row of NaNs stands for an id that is not in [0, rows); nothing beyond the planes is read.
template <class T>
void gather_planes(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                   std::int64_t cols, const std::int64_t* ids, std::int64_t count, T* out, Stream stream);

}  // namespace tetrad::nvfp4::cuda
