#include <tetrad/base/error.h>
#include <tetrad/nvfp4/packed_tensor.h>

#include <string>

namespace tetrad::nvfp4 {

template <class T>
PackedTensor encode(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                    const EncodeOptions& options) {
  const Amax greatest = amax(x, rows, cols, stride);
  if (greatest.first_bad >= 0) {
    const std::int64_t row = greatest.first_bad / cols;
    const std::int64_t col = greatest.first_bad % cols;
    throw Error(ExitCode::numerics,
                "[nvfp4] encode: element (" + std::to_string(row) + ", " + std::to_string(col) + ") of " +
                    std::to_string(rows) + " x " + std::to_string(cols) + " is " +
                    std::to_string(to_float(x[row * stride + col])) +
                    "; NVFP4 stores finite values only: check where this tensor comes from");
  }
  PackedTensor packed;
  packed.rows = rows;
  packed.cols = cols;
  packed.global = global_scale(greatest.value, options);
  packed.codes.resize(static_cast<std::size_t>(rows * packed_cols(cols) / 2));
  packed.scales.resize(static_cast<std::size_t>(rows * packed_cols(cols) / kBlock));
  quantize(x, rows, cols, stride, packed.global, options, packed.codes.data(), packed.scales.data());
  return packed;
}

template PackedTensor encode<float>(const float*, std::int64_t, std::int64_t, std::int64_t,
                                    const EncodeOptions&);
template PackedTensor encode<Bf16>(const Bf16*, std::int64_t, std::int64_t, std::int64_t,
                                   const EncodeOptions&);
template PackedTensor encode<Fp16>(const Fp16*, std::int64_t, std::int64_t, std::int64_t,
                                   const EncodeOptions&);

}  // namespace tetrad::nvfp4
