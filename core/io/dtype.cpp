#include "io/dtype.h"

#include <array>

namespace tetrad::io {
namespace {

struct Row {
  DType dtype;
  const char* name;
  std::size_t size;
};

constexpr std::array<Row, 16> table{{
    {DType::boolean, "BOOL", 1},
    {DType::u8, "U8", 1},
    {DType::i8, "I8", 1},
    {DType::f8_e4m3, "F8_E4M3", 1},
    {DType::f8_e5m2, "F8_E5M2", 1},
    {DType::f8_e8m0, "F8_E8M0", 1},
    {DType::i16, "I16", 2},
    {DType::u16, "U16", 2},
    {DType::f16, "F16", 2},
    {DType::bf16, "BF16", 2},
    {DType::i32, "I32", 4},
    {DType::u32, "U32", 4},
    {DType::f32, "F32", 4},
    {DType::i64, "I64", 8},
    {DType::u64, "U64", 8},
    {DType::f64, "F64", 8},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (static_cast<std::size_t>(table[i].dtype) != i) return false;
  }
  return true;
}
static_assert(in_order(), "the table is indexed by the enumerator");

}  // namespace

const char* dtype_name(DType dtype) noexcept {
  return table[static_cast<std::size_t>(dtype)].name;
}

std::size_t dtype_size(DType dtype) noexcept {
  return table[static_cast<std::size_t>(dtype)].size;
}

std::optional<DType> dtype_from_name(std::string_view name) noexcept {
  for (const Row& row : table) {
    if (name == row.name) return row.dtype;
  }
  return std::nullopt;
}

}  // namespace tetrad::io
