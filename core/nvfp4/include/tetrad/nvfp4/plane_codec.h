// Whole tensors of tied planes on the CPU (planes.h says what they are): dense values -> hi [+ lo [+ lo2]]
// and back. Layouts, padding, strides, splitting by rows and the treatment of non-finite values are
// codec.h's: a block that met one gets the scale 0x7F and zero codes in every plane.
#pragma once

#include <tetrad/nvfp4/codec.h>
#include <tetrad/nvfp4/philox.h>

namespace tetrad::nvfp4 {

// Where a tensor's planes are; without lo (null) there is one plane, without lo2 there are two.
// `codes`, `lo` and `lo2` are (rows, packed_cols(cols) / 2), `scales` (rows, packed_cols(cols) / 16).
template <class Byte>
struct PlanesAt {
  Byte* codes = nullptr;
  Byte* scales = nullptr;
  Byte* lo = nullptr;
  Byte* lo2 = nullptr;
  int count() const { return lo == nullptr ? 1 : (lo2 == nullptr ? 2 : 3); }
};
using PlanesView = PlanesAt<const std::uint8_t>;
using PlanesOut = PlanesAt<std::uint8_t>;

// How the last plane is rounded: to nearest, or (stochastic) with draw 0 of `draws` for the elements from row
// `first_row` of the tensor on.
struct LastPlane {
  bool stochastic = false;
  DrawStream draws{};
  std::int64_t first_row = 0;
};

// Block scales are profile te's, the decode scale should be a power of two (global.decode). Returns row *
// cols
// + col of the first non-finite element of the range, or -1. T is float, Bf16 or Fp16.
template <class T>
std::int64_t quantize_planes(const T* x, std::int64_t rows, std::int64_t cols, std::int64_t stride,
                             GlobalScale global, const LastPlane& last, const PlanesOut& out);

// exact: the sum of planes times block scale in fp32. folded: rounded to bf16 there, the weight that a model
// with the forward hi+lo is, in whatever type it is handed out.
enum class PlaneValue : std::uint8_t { exact, folded };

// out[r, c] = (sum of planes * block scale [folded]) * decode_scale, narrowed to T once more at the end; out
// dense [rows, cols]. A 16-bit T takes a decode scale that is a power of two only (tetrad::Error otherwise);
// Bf16 is `folded` either way.
template <class T>
void dequantize_planes(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                       std::int64_t cols, T* out);

// Rows of a tensor of `rows` rows, as dequantize_planes gives them (an embedding lookup): out[i, c] = row
// ids[i], dense [count, cols]. An id that is no row is a tetrad::Error(usage); nothing is written then.
template <class T>
void gather_planes(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                   std::int64_t cols, const std::int64_t* ids, std::int64_t count, T* out);

namespace reference {

// The plain definition that the fast one is tested against.
template <class T>
void dequantize_planes(const PlanesView& planes, float decode_scale, PlaneValue value, std::int64_t rows,
                       std::int64_t cols, T* out);

}  // namespace reference
}  // namespace tetrad::nvfp4
