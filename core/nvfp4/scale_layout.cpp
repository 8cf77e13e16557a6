#include <tetrad/nvfp4/scale_layout.h>

#include <cstring>

namespace tetrad::nvfp4 {

void swizzle_scales(const std::uint8_t* scales, std::int64_t rows, std::int64_t columns, std::uint8_t* out) {
  std::memset(out, 0, static_cast<std::size_t>(swizzled_size(rows, columns)));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) out[swizzled_offset(r, c, columns)] = scales[r * columns + c];
  }
}

void unswizzle_scales(const std::uint8_t* swizzled, std::int64_t rows, std::int64_t columns,
                      std::uint8_t* out) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c)
      out[r * columns + c] = swizzled[swizzled_offset(r, c, columns)];
  }
}

}  // namespace tetrad::nvfp4
