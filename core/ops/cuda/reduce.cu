#include "ops/cuda/reduce.cuh"

#include <array>
#include <atomic>

#include "ops/cuda/device.cuh"
#include "ops/cuda/train_kernels.h"

namespace tetrad::ops::cuda {
namespace {

constexpr unsigned kColumns = 32, kLines = 16;

__global__ void sum_columns_kernel(const float* partial, std::int64_t rows, std::int64_t n, float* out) {
  __shared__ float of_line[kLines][kColumns];
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  float sum = 0.0f;
  if (column < n) {
#pragma unroll 4
    for (std::int64_t row = threadIdx.y; row < rows; row += kLines) sum += partial[row * n + column];
  }
  of_line[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= n) return;
  sum = 0.0f;
  for (unsigned line = 0; line < kLines; ++line) sum += of_line[line][threadIdx.x];
  out[column] = sum;
}

struct Measured {
  float squares;
  std::uint32_t amax;  // bits
};
constexpr unsigned kThreads = 256;
constexpr unsigned kMostBlocks = 2048;

__device__ void take(float value, float& squares, std::uint32_t& amax) {
  squares += value * value;
  const std::uint32_t bits = nvfp4::abs_bits(value);
  if (nvfp4::is_finite_bits(bits)) amax = max(amax, bits);
}

__device__ Measured block_measured(float squares, std::uint32_t amax) {
  __shared__ std::uint32_t of_warp[kThreads / 32];
  amax = __reduce_max_sync(0xFFFFFFFFu, amax);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = amax;
  const float sum = block_sum(squares);  // synchronises
  for (unsigned w = 0; w < kThreads / 32; ++w) amax = max(amax, of_warp[w]);
  return {sum, amax};
}

template <class T, int kVector>
__global__ void __launch_bounds__(kThreads) measure_kernel(const T* values, std::int64_t n, Measured* parts) {
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kThreads;
  float squares = 0.0f;
  std::uint32_t amax = 0;
  for (std::int64_t i = first; i < n / kVector; i += step) {
    const Vector<T, kVector> v = load<T, kVector>(values + i * kVector);
#pragma unroll
    for (int e = 0; e < kVector; ++e) take(to_float(v.element[e]), squares, amax);
  }
  if (const std::int64_t rest = n / kVector * kVector + first; rest < n)
    take(to_float(values[rest]), squares, amax);
  const Measured block = block_measured(squares, amax);
  if (threadIdx.x == 0) parts[blockIdx.x] = block;
}

__global__ void __launch_bounds__(kThreads)
    finish_measure_kernel(const Measured* parts, unsigned count, nvfp4::EncodeOptions options, float* norm,
                          nvfp4::GlobalScale* global) {
  float squares = 0.0f;
  std::uint32_t amax = 0;
  for (unsigned i = threadIdx.x; i < count; i += kThreads) {
    squares += parts[i].squares;
    amax = max(amax, parts[i].amax);
  }
  const Measured all = block_measured(squares, amax);
  if (threadIdx.x != 0) return;
  *norm = sqrtf(all.squares);
  *global = nvfp4::global_scale(nvfp4::bits_float(all.amax), options);
}

}  // namespace

void sum_columns(const float* partial, std::int64_t rows, std::int64_t n, float* out, Stream stream) {
  if (n <= 0) return;
  sum_columns_kernel<<<static_cast<unsigned>((n + kColumns - 1) / kColumns), dim3(kColumns, kLines), 0,
                       stream>>>(partial, rows, n, out);
  check_launch("sum of columns");
}

std::int64_t processors() {
  constexpr int kDevices = 64;
  static std::array<std::atomic<int>, kDevices> known{};
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess || device < 0 || device >= kDevices) return 64;
  std::atomic<int>& here = known[static_cast<std::size_t>(device)];
  if (here.load(std::memory_order_relaxed) == 0) {
    int count = 0;
    const bool told =
        cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) == cudaSuccess && count > 0;
    here.store(told ? count : 64, std::memory_order_relaxed);
  }
  return here.load(std::memory_order_relaxed);
}

std::int64_t measure_workspace() {
  return kMostBlocks * static_cast<std::int64_t>(sizeof(Measured));
}

template <class T>
void measure(const T* values, std::int64_t n, const nvfp4::EncodeOptions& options, float* norm,
             nvfp4::GlobalScale* global, void* workspace, Stream stream) {
  constexpr int kVector = 16 / sizeof(T);
  auto* const parts = static_cast<Measured*>(workspace);
  const std::int64_t wanted = (n / kVector + kThreads - 1) / kThreads;
  const auto most = std::min<std::int64_t>(kMostBlocks, processors() * 8);
  const auto blocks = static_cast<unsigned>(std::clamp<std::int64_t>(wanted, 1, most));
  if (aligned16(values))
    measure_kernel<T, kVector><<<blocks, kThreads, 0, stream>>>(values, n, parts);
  else
    measure_kernel<T, 1><<<blocks, kThreads, 0, stream>>>(values, n, parts);
  check_launch("norm and maximum");
  finish_measure_kernel<<<1, kThreads, 0, stream>>>(parts, blocks, options, norm, global);
  check_launch("norm and maximum");
}

template void measure<float>(const float*, std::int64_t, const nvfp4::EncodeOptions&, float*,
                             nvfp4::GlobalScale*, void*, Stream);
template void measure<Bf16>(const Bf16*, std::int64_t, const nvfp4::EncodeOptions&, float*,
                            nvfp4::GlobalScale*, void*, Stream);
template void measure<Fp16>(const Fp16*, std::int64_t, const nvfp4::EncodeOptions&, float*,
                            nvfp4::GlobalScale*, void*, Stream);

}  // namespace tetrad::ops::cuda
