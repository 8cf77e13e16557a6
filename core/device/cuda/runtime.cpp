// The CUDA DeviceRuntime, in libtetrad_cuda.so.
#include <ATen/Context.h>
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>
#include <tetrad/torch/device_runtime.h>

#include <exception>
#include <mutex>
#include <shared_mutex>
#include <string>

namespace tetrad {
namespace {

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  throw Error(std::string("[cuda] ") + call + ": " + cudaGetErrorName(error) + ", " +
              cudaGetErrorString(error));
}

// Until it is initialised the allocator knows of no device, and every question about one is an error.
void make_ready() {
  at::globalContext().lazyInitDevice(c10::kCUDA);
}

// Workspaces that libtorch has handed to cuBLAS and cuBLASLt: one for each handle and stream that ran a
// product. They stay until the process ends.
std::int64_t library_workspaces() {
  const auto count = [](at::cuda::WorkspaceMapWithMutex& held) {
    const std::shared_lock lock(held.mutex);
    return static_cast<std::int64_t>(held.map.size());
  };
  return count(at::cuda::cublas_handle_stream_to_workspace()) *
             static_cast<std::int64_t>(at::cuda::getChosenWorkspaceSize()) +
         count(at::cuda::cublaslt_handle_stream_to_workspace()) *
             static_cast<std::int64_t>(at::cuda::getCUDABlasLtWorkspaceSize());
}

class CudaRuntime final : public DeviceRuntime {
 public:
  DeviceInfo info(int device) override {
    int count = 0;
    check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    if (device < 0 || device >= count) {
      throw Error(ExitCode::usage, "[cuda] there is no device " + std::to_string(device) +
                                       "; this machine has " + std::to_string(count) + ", counted from 0");
    }
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    return {properties.name, properties.major, properties.minor,
            static_cast<std::int64_t>(properties.totalGlobalMem), properties.integrated != 0};
  }

  DeviceMemory memory(int device) override {
    make_ready();
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    const auto& live = stats.allocated_bytes[0];
    const auto& reserved = stats.reserved_bytes[0];
    std::size_t free_bytes = 0, total = 0;
    check(cudaMemGetInfo(&free_bytes, &total), "cudaMemGetInfo");
    return {live.current,
            live.peak,
            reserved.current,
            reserved.peak,
            static_cast<std::int64_t>(total - free_bytes),
            library_workspaces()};
  }

  void reset_peak(int device) override {
    make_ready();
    c10::cuda::CUDACachingAllocator::resetPeakStats(static_cast<c10::DeviceIndex>(device));
  }

  void synchronize(int device) override {
    const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device));
    check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }
};

}  // namespace
}  // namespace tetrad

extern "C" [[gnu::visibility("default")]] tetrad::DeviceRuntime* tetrad_device_runtime_v1() noexcept {
  static tetrad::CudaRuntime runtime;
  return &runtime;
}

extern "C" [[gnu::visibility("default")]] bool tetrad_cap_memory_v1(int index, double fraction,
                                                                    std::string& why) noexcept {
  try {
    tetrad::make_ready();
    c10::cuda::CUDACachingAllocator::setMemoryFraction(fraction, static_cast<c10::DeviceIndex>(index));
    return true;
  } catch (const std::exception& e) {
    why = e.what();
    return false;
  }
}
