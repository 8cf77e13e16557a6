#include "device/choose.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <tetrad/base/error.h>

#include "device/cuda_ops.h"

#include <algorithm>
#include <filesystem>
#include <optional>

namespace tetrad::device {
namespace {

// A driver without a device, or the reverse, is not worth the seconds that loading libtorch_cuda takes.
bool looks_like_gpu_machine() {
  std::error_code ignored;
  for (const char* path : {"/dev/nvidiactl", "/dev/nvgpu", "/dev/dxg"}) {
    if (std::filesystem::exists(path, ignored)) return true;
  }
  return false;
}

std::string load_error(const std::string& library) {
  const char* why = dlerror();
  return library + " cannot be loaded (" + (why != nullptr ? why : "no reason given") + ")";
}

CudaOps* loaded_ops = nullptr;
CapMemoryEntry loaded_cap = nullptr;

struct Loaded {
  DeviceRuntime* runtime = nullptr;
  std::string missing;  // why CUDA cannot be used
};

Loaded load_cuda() {
  // Both are found through the engine's own run path, as libtorch_cpu was.
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return {nullptr, load_error("libtorch_cuda.so") +
                         "; `make build` on a machine with a GPU installs the CUDA wheels it needs"};
  }
  if (!at::globalContext().hasCUDA())
    return {nullptr, "libtorch sees no CUDA device; is the NVIDIA driver loaded (nvidia-smi)?"};
  void* library = dlopen("libtetrad_cuda.so", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return {nullptr, load_error("libtetrad_cuda.so") +
                         "; this build has no CUDA half: run `make build` on a machine with a GPU"};
  }
  const auto entry = reinterpret_cast<DeviceRuntimeEntry>(dlsym(library, kDeviceRuntimeEntry));
  const auto ops = reinterpret_cast<CudaOpsEntry>(dlsym(library, kCudaOpsEntry));
  loaded_cap = reinterpret_cast<CapMemoryEntry>(dlsym(library, kCapMemoryEntry));
  if (entry == nullptr || ops == nullptr || loaded_cap == nullptr)
    return {nullptr, load_error("libtetrad_cuda.so") + "; it belongs to another version"};
  loaded_ops = ops();
  return {entry(), {}};
}

}  // namespace

Choice choose(const std::string& name) {
  if (name == "cpu") return {};
  const bool automatic = name == "auto";
  if (automatic && !looks_like_gpu_machine())
    return {at::kCPU, nullptr, "auto: no NVIDIA device on this machine"};
  const Loaded cuda = load_cuda();
  if (!cuda.missing.empty()) {
    if (automatic) return {at::kCPU, nullptr, "auto: this machine has an NVIDIA device, but " + cuda.missing};
    throw Error("[device] '" + name + "' cannot be used: " + cuda.missing + "; or set model.device: cpu");
  }
  const at::Device asked = automatic ? at::Device(at::kCUDA) : at::Device(name);
  const at::Device device(at::kCUDA, asked.has_index() ? asked.index() : static_cast<at::DeviceIndex>(0));
  const DeviceInfo info = cuda.runtime->info(device.index());  // throws when there is no such device
  return {device, cuda.runtime, automatic ? "auto: " + info.name : ""};
}

void cap_memory(const Choice& choice, double fraction) {
  if (choice.runtime == nullptr) return;
  std::string why;
  if (!loaded_cap(choice.device.index(), fraction, why))
    throw Error("[device] the allocator takes no limit: " + why);
}

CudaOps* cuda_ops() noexcept {
  return loaded_ops;
}

CudaOps* cuda_ops_for(const at::Tensor& t) noexcept {
  const bool taken = loaded_ops != nullptr && t.is_cuda() && t.is_contiguous() &&
                     (t.scalar_type() == at::kBFloat16 || t.scalar_type() == at::kHalf);
  return taken ? loaded_ops : nullptr;
}

std::string hardware_name(const Choice& choice) {
  if (choice.runtime == nullptr) return "cpu " + at::get_cpu_capability();
  const DeviceInfo info = choice.runtime->info(std::max<int>(choice.device.index(), 0));
  return info.name + " sm_" + std::to_string(info.major) + std::to_string(info.minor);
}

}  // namespace tetrad::device
