// The codec on a CUDA device (library tetrad_nvfp4_cuda): amax, global scale, quantise, dequantise, bit-exact
// to reference.h because the kernels run the same functions (profile.h). Layouts and meanings are those of
// codec.h; every pointer is a device pointer, cols is padded with zeros in the packed form, and codes must be
// 8-byte aligned. All functions only enqueue on `stream` of the current device and never synchronise: amax
// and global scale stay on the device. They throw tetrad::Error(runtime) when a launch is refused and
// tetrad::Error(usage) for what only the CPU does.
//
// Non-finite values: amax passes over them; quantize gives their block the NaN scale (0x7F) and zero codes,
// and writes the caller's tag into the report word, if there is one. The host reads that word at its next
// synchronisation.
#pragma once

#include <tetrad/nvfp4/codec.h>

struct CUstream_st;

namespace tetrad::nvfp4::cuda {

using Stream = CUstream_st*;  // cudaStream_t, without the CUDA headers

// Where quantize says that it met a non-finite value: *word becomes `tag` if it was 0 (the first tag stays).
struct NonFiniteReport {
  unsigned long long* word = nullptr;
  unsigned long long tag = 0;  // the caller's, not 0: tensor id, step
};

// *amax_bits = max(*amax_bits, bits of max |x| over the finite elements); the caller zeroes it first, and may
// gather several tensors in it that shall share one global scale. T is float, Bf16 or Fp16.
template <class T>
void amax(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, std::uint32_t* amax_bits,
          Stream stream);

// *global = global_scale(float of *amax_bits, options).
void global_scale(const std::uint32_t* amax_bits, const EncodeOptions& options, GlobalScale* global,
                  Stream stream);

// Profile te only, both block shapes, rounding to nearest with block target six (cuda/operand_codec.h has the
// others). T is float, Bf16 or Fp16.
template <class T>
void quantize(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
              const GlobalScale* global, const EncodeOptions& options, std::uint8_t* codes,
              std::uint8_t* scales, NonFiniteReport report, Stream stream);

// The same with the scale given by the host.
template <class T>
void quantize(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride, GlobalScale global,
              const EncodeOptions& options, std::uint8_t* codes, std::uint8_t* scales, NonFiniteReport report,
              Stream stream);

// What quantize (profile te, blocks of 1 x 16) and dequantize would give one after the other, in one pass and
// without the codes: x and out dense [rows, cols], of any two of float, Bf16 and Fp16.
template <class T, class Out>
void requantize(const T* x, std::int64_t rows, std::int64_t cols, GlobalScale global, float decode_scale,
                Out* out, NonFiniteReport report, Stream stream);

// The same with the scale where cuda::global_scale left it, decoded by its own decode scale, which must be a
// power of two when Out has 16 bits (GlobalRule::power_of_two makes it one).
template <class T, class Out>
void requantize(const T* x, std::int64_t rows, std::int64_t cols, const GlobalScale* global, Out* out,
                NonFiniteReport report, Stream stream);

// As in codec.h, with the scale given by the host; the same rule for 16-bit outputs. T is float, Bf16 or
// Fp16.
template <class T>
void dequantize(const std::uint8_t* codes, const std::uint8_t* scales, float decode_scale, std::int64_t rows,
                std::int64_t cols, T* out, Stream stream);

}  // namespace tetrad::nvfp4::cuda
