// What the kernels that work block by block share: launch geometry, where a block of 16 columns lies, the
// global scale of a launch, and how a non-finite value is reported. One thread handles a block at a time and
// strides over what the grid does not cover.
#pragma once

#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/cuda.h>

#include <algorithm>
#include <string>

#include "nvfp4/cuda/block_io.cuh"

namespace tetrad::nvfp4::cuda {

inline constexpr int kThreads = 256;
inline constexpr std::int64_t kMaxGrid = 1 << 20;  // kernels stride over what is beyond

inline unsigned grid_for(std::int64_t threads) {
  return static_cast<unsigned>(std::min((threads + kThreads - 1) / kThreads, kMaxGrid));
}

inline void check_launch(const char* what) {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess) {
    throw Error(std::string("[nvfp4] ") + what +
                ": the device refused the kernel: " + cudaGetErrorString(status));
  }
}

__device__ inline std::int64_t first_thread() {
  return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}
__device__ inline std::int64_t thread_count() {
  return static_cast<std::int64_t>(gridDim.x) * kThreads;
}

// Where block i of 16 columns lies. Flat: rows are dense and whole blocks, so that block i is simply the
// 16 elements from 16 i on; otherwise a division finds row and column.
struct Place {
  std::int64_t row, col, left;  // left: columns from col to the end of the row
};
__device__ inline Place place_of(std::int64_t i, std::int64_t cols) {
  const std::int64_t row_blocks = (cols + kBlock - 1) / kBlock;
  const std::int64_t row = i / row_blocks, col = (i - row * row_blocks) * kBlock;
  return {row, col, cols - col};
}

template <bool kFlat, class T>
__device__ void load_block_at(const T* x, std::int64_t i, std::int64_t cols, std::int64_t stride,
                              float (&values)[16]) {
  if constexpr (kFlat) {
    load_block_aligned(x + i * kBlock, values);
  } else {
    const Place p = place_of(i, cols);
    load_block(x + p.row * stride + p.col, p.left, values);
  }
}

template <bool kFlat, class T>
__device__ void store_block_at(const float (&values)[16], std::int64_t i, std::int64_t cols, T* out) {
  if constexpr (kFlat) {
    store_block_aligned(values, out + i * kBlock);
  } else {
    const Place p = place_of(i, cols);
    store_block(values, p.left, out + p.row * cols + p.col);
  }
}

__device__ inline void say_non_finite(NonFiniteReport report) {
  if (report.word != nullptr) atomicCAS(report.word, 0ull, report.tag);
}

// The global scale of a launch: on the device where amax left it, or given by the host.
struct GlobalSource {
  const GlobalScale* device = nullptr;
  GlobalScale host;
  __device__ GlobalScale get() const { return device != nullptr ? *device : host; }
};

inline std::int64_t block_count(std::int64_t rows, std::int64_t cols) {
  return rows * ((cols + kBlock - 1) / kBlock);
}

template <class T>
bool is_flat(const T* x, std::int64_t cols, std::int64_t stride) {
  return cols % kBlock == 0 && stride == cols && reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
}

}  // namespace tetrad::nvfp4::cuda
