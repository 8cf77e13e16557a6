// Element types of stored tensors, under the names that the safetensors format gives them. Contract: the list
// is closed; a name that is not in it is refused by the reader rather than guessed, and every type is a whole
// number of bytes (packed FP4 weights are stored as U8).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tetrad::io {

enum class DType : std::uint8_t {
  boolean,
  u8,
  i8,
  f8_e4m3,  // E4M3FN: no infinity, NaN 0x7F and 0xFF
  f8_e5m2,
  f8_e8m0,  // power-of-two scales (MX formats)
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  i64,
  u64,
  f64,
};

// The name in a safetensors header: "BF16", "F8_E4M3", ...
const char* dtype_name(DType dtype) noexcept;

// Bytes of one element.
std::size_t dtype_size(DType dtype) noexcept;

// The type of a header's name; empty when the name is unknown.
std::optional<DType> dtype_from_name(std::string_view name) noexcept;

}  // namespace tetrad::io
