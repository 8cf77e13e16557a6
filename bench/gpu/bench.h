// What the parts of tetrad_gpu_bench share: device memory, a stream, timing by CUDA events, and the rows of
// the result. Times are medians; every rate is given beside the copy or GEMM rate measured in the same run.
#pragma once

#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <random>
#include <string>
#include <vector>

namespace tetrad::bench {

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw Error(std::string("[bench] ") + what + ": " + cudaGetErrorString(status));
}

// Device memory, filled with random bytes below `limit` (0: left as it is).
class Buffer {
 public:
  explicit Buffer(std::size_t bytes, int limit = 0) : bytes_(bytes) {
    check(cudaMalloc(&data_, bytes), "cudaMalloc");
    if (limit > 0) fill(limit);
  }
  ~Buffer() { cudaFree(data_); }
  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  std::size_t bytes() const { return bytes_; }

 private:
  void fill(int limit) {
    std::mt19937 rng(1);
    std::vector<std::uint8_t> host(std::min<std::size_t>(bytes_, std::size_t{4} << 20));
    for (std::uint8_t& b : host) b = static_cast<std::uint8_t>(rng() % static_cast<unsigned>(limit));
    for (std::size_t at = 0; at < bytes_; at += host.size())
      check(cudaMemcpy(as<std::uint8_t>() + at, host.data(), std::min(host.size(), bytes_ - at),
                       cudaMemcpyHostToDevice),
            "cudaMemcpy");
  }
  void* data_ = nullptr;
  std::size_t bytes_;
};

// Device memory of n bf16 (random, normal, sigma 0.02).
Buffer gaussian_bf16(std::size_t n);

// Median milliseconds of `work` on `stream`, after three runs for warming up.
double median_ms(cudaStream_t stream, const std::function<void()>& work, int samples = 15);
// The same for work that is captured into a graph once and replayed.
double median_graph_ms(cudaStream_t stream, const std::function<void()>& work, int samples = 15);

struct Context {
  cudaStream_t stream = nullptr;
  double copy_rate = 0.0;  // bytes read + written a second, device to device
  bool sweep = false;      // measure every plan of the packed product
};

nlohmann::json codec_rates(const Context& context);
nlohmann::json operand_rates(const Context& context);
nlohmann::json packed_rates(const Context& context);
nlohmann::json gemm_rates(const Context& context);
nlohmann::json optimizer_rates(const Context& context);
nlohmann::json sampling_rates(const Context& context);
nlohmann::json train_rates(const Context& context);

}  // namespace tetrad::bench
