// The convenient end of the codec: a packed matrix that owns its bytes, and one call to make it. For callers
// that encode a whole tensor at once (loaders, tools, tests); hot paths use codec.h on their own memory.
#pragma once

#include <tetrad/nvfp4/codec.h>

#include <vector>

namespace tetrad::nvfp4 {

struct PackedTensor {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  GlobalScale global;
  std::vector<std::uint8_t> codes;   // (rows, packed_cols(cols) / 2)
  std::vector<std::uint8_t> scales;  // (rows, packed_cols(cols) / 16), E4M3
};

// x is (rows, cols) with `stride` elements from row to row; T is float, Bf16 or Fp16.
// Throws tetrad::Error(numerics) that names row and column when an element is not finite.
template <class T>
PackedTensor encode(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                    const EncodeOptions& options = {});

}  // namespace tetrad::nvfp4
