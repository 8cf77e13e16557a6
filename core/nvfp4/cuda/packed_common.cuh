// Both ends of the packed product: its arguments, how x is read, and what becomes of a sum.
#pragma once

#include <tetrad/nvfp4/cuda/packed_linear.h>

#include "nvfp4/cuda/fragment.h"

namespace tetrad::nvfp4::cuda {

struct PackedLinearArgs {
  const void* x = nullptr;
  int m = 0;
  bool x_vector = false;  // x and its rows are 16-byte aligned
  Moves moves{};
  bool float_out = false;
  PackedEpilogue epilogue = PackedEpilogue::store;
  int count = 0;
  int k = 0;
  int k_padded = 0;
  std::int64_t x_stride = 0;
  PackedLinear weight[kMaxPackedGroup];
  int first[kMaxPackedGroup] = {};  // block of the grid where a weight begins
};

__device__ inline void put(const uint4 v, std::uint32_t (&words)[4]) {
  words[0] = v.x;
  words[1] = v.y;
  words[2] = v.z;
  words[3] = v.w;
}

// Elements [k, k + 8) of a row of x as four pairs in the order of activation_pairs; zero from `cols` on.
template <class T>
__device__ inline void load_x(const T* row, int k, int cols, bool vector, std::uint32_t (&pairs)[4]) {
  std::uint32_t x[4];
  if (vector && k + 8 <= cols) {
    put(*reinterpret_cast<const uint4*>(row + k), x);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t even = k + 2 * i < cols ? row[k + 2 * i].bits : 0u;
      const std::uint32_t odd = k + 2 * i + 1 < cols ? row[k + 2 * i + 1].bits : 0u;
      x[i] = even | (odd << 16);
    }
  }
  activation_pairs(x, pairs);
}

template <class T>
__device__ inline float rounded(float v) {
  return to_float(from_float<T>(v));
}

template <class T>
__device__ inline float silu(float g) {
  return rounded<T>(g / (1.0f + expf(-g)));
}

// y = T(value), float(value) or T(T(value) + y), where value is alpha * sum.
template <class T>
__device__ inline void store_product(const PackedLinearArgs& args, const PackedLinear& w, int col, int row,
                                     float value) {
  const std::int64_t at = col * w.y_stride + row;
  if (args.float_out) {
    static_cast<float*>(w.y)[at] = value;
  } else if (args.epilogue == PackedEpilogue::add) {
    T* y = static_cast<T*>(w.y) + at;
    *y = from_float<T>(rounded<T>(value) + to_float(*y));
  } else {
    static_cast<T*>(w.y)[at] = from_float<T>(value);
  }
}

// y = T(silu(gate) * up), with the roundings of the plain operations.
template <class T>
__device__ inline void store_gated(const PackedLinearArgs& args, int col, int row, float gate, float up) {
  static_cast<T*>(args.weight[0].y)[col * args.weight[0].y_stride + row] =
      from_float<T>(silu<T>(rounded<T>(gate)) * rounded<T>(up));
}

}  // namespace tetrad::nvfp4::cuda
