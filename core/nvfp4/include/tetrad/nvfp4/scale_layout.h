// The block-scale layout that Blackwell's FP4 GEMMs read (cuBLASLt VEC16_UE4M3, torch SWIZZLE_32_4_4, torchao
// to_blocked) and both ways between it and the row-major layout of checkpoints. Tiles of 128 rows x 4 block
// columns are stored one after the other, row-major over tiles, 512 bytes each; inside a tile row r, column c
// stands at (r % 32) * 16 + (r / 32) * 4 + c. Rows and columns are padded with zeros to whole tiles. One
// byte per scale; on a device: cuda/operand_codec.h.
#pragma once

#include <cstdint>

namespace tetrad::nvfp4 {

// Bytes of the swizzled form of `rows` x `columns` scales (columns = packed_cols(k) / 16).
inline constexpr std::int64_t swizzled_size(std::int64_t rows, std::int64_t columns) {
  return ((rows + 127) / 128) * ((columns + 3) / 4) * 512;
}

// Where the scale of row r, block column c stands; `columns` as above.
inline constexpr std::int64_t swizzled_offset(std::int64_t r, std::int64_t c, std::int64_t columns) {
  const std::int64_t tile = (r / 128) * ((columns + 3) / 4) + c / 4;
  return tile * 512 + (r % 32) * 16 + (r % 128) / 32 * 4 + c % 4;
}

// scales (rows, columns) -> out, swizzled_size(rows, columns) bytes, padding zeroed.
void swizzle_scales(const std::uint8_t* scales, std::int64_t rows, std::int64_t columns, std::uint8_t* out);

// The other way; padding is not looked at.
void unswizzle_scales(const std::uint8_t* swizzled, std::int64_t rows, std::int64_t columns,
                      std::uint8_t* out);

}  // namespace tetrad::nvfp4
