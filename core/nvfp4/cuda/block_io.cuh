// Moves 16 consecutive elements between global memory and registers: in 16-byte pieces where the address
// allows it, one by one at the end of a row and for odd strides. Bits are untouched; elements are widened to
// float on the way in.
#pragma once

#include <tetrad/nvfp4/half.h>

namespace tetrad::nvfp4::cuda {

__device__ inline bool aligned16(const void* p) {
  return (reinterpret_cast<unsigned long long>(p) & 15u) == 0;
}

template <class T>
union BlockOf16 {
  T element[16];
  uint4 piece[sizeof(T)];
  __device__ BlockOf16() {}
};

// 16 elements at a 16-byte aligned address.
template <class T>
__device__ inline void load_block_aligned(const T* x, float (&values)[16]) {
  BlockOf16<T> block;
#pragma unroll
  for (unsigned i = 0; i < sizeof(T); ++i) block.piece[i] = reinterpret_cast<const uint4*>(x)[i];
#pragma unroll
  for (int i = 0; i < 16; ++i) values[i] = to_float(block.element[i]);
}

template <class T>
__device__ inline void store_block_aligned(const float (&values)[16], T* out) {
  BlockOf16<T> block;
#pragma unroll
  for (int i = 0; i < 16; ++i) block.element[i] = from_float<T>(values[i]);
#pragma unroll
  for (unsigned i = 0; i < sizeof(T); ++i) reinterpret_cast<uint4*>(out)[i] = block.piece[i];
}

// `left` elements of the row remain at x; missing ones read as 0.
template <class T>
__device__ inline void load_block(const T* x, long long left, float (&values)[16]) {
  if (left >= 16 && aligned16(x)) {
    load_block_aligned(x, values);
  } else {
#pragma unroll
    for (int i = 0; i < 16; ++i) values[i] = i < left ? to_float(x[i]) : 0.0f;
  }
}

template <class T>
__device__ inline void store_block(const float (&values)[16], long long left, T* out) {
  if (left >= 16 && aligned16(out)) {
    store_block_aligned(values, out);
  } else {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (i < left) out[i] = from_float<T>(values[i]);
    }
  }
}

}  // namespace tetrad::nvfp4::cuda
