#include "nvml.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace tetrad::guard_nvml {

namespace {

constexpr unsigned char filler = 0xA5;
constexpr std::size_t largest_stride = 32;
constexpr std::uint32_t largest_pid = 1 << 22;

struct AddressingMode {
  std::uint32_t version;
  std::uint32_t value;  // 0 none, 1 HMM, 2 ATS
};

template <class T>
constexpr std::uint32_t version_of(unsigned number) {
  return static_cast<std::uint32_t>(sizeof(T) | (number << 24U));
}

}  // namespace

template <class F>
void Library::find(F& function, const char* name) {
  function = reinterpret_cast<F>(::dlsym(handle_, name));
}

Library::Library(const std::string& name) {
  handle_ = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    problem_ = "no NVIDIA driver: " + name + " cannot be loaded";
    return;
  }
  find(init_, "nvmlInit_v2");
  find(shutdown_, "nvmlShutdown");
  find(error_string_, "nvmlErrorString");
  find(driver_version_, "nvmlSystemGetDriverVersion");
  find(count_, "nvmlDeviceGetCount_v2");
  find(by_index_, "nvmlDeviceGetHandleByIndex_v2");
  find(uuid_, "nvmlDeviceGetUUID");
  find(name_, "nvmlDeviceGetName");
  find(memory_v1_, "nvmlDeviceGetMemoryInfo");
  find(memory_v2_, "nvmlDeviceGetMemoryInfo_v2");
  find(addressing_mode_, "nvmlDeviceGetAddressingMode");
  find(compute_, "nvmlDeviceGetComputeRunningProcesses_v3");
  find(graphics_, "nvmlDeviceGetGraphicsRunningProcesses_v3");
  find(mps_, "nvmlDeviceGetMPSComputeRunningProcesses_v3");
  if (compute_ == nullptr) find(compute_, "nvmlDeviceGetComputeRunningProcesses_v2");
  if (graphics_ == nullptr) find(graphics_, "nvmlDeviceGetGraphicsRunningProcesses_v2");
  if (init_ == nullptr || count_ == nullptr || by_index_ == nullptr) {
    problem_ = name + " lacks functions of NVML 11 and later";
    return;
  }
  const int code = init_();
  started_ = code == rc::success;
  if (!started_) {
    problem_ = "nvmlInit: " + error_text(code);
    if (code == rc::version_mismatch)
      problem_ +=
          " (library and kernel module are of different versions: restart the machine after a driver update)";
  }
}

Library::~Library() {
  if (started_ && shutdown_ != nullptr) shutdown_();
  // The handle stays: drivers do not take well to being unloaded.
}

std::string Library::error_text(int code) const {
  const char* text = error_string_ == nullptr ? nullptr : error_string_(code);
  return (text == nullptr ? std::string("error") : std::string(text)) + " (" + std::to_string(code) + ")";
}

std::string Library::driver_version() const {
  char text[96] = {};
  if (driver_version_ == nullptr || driver_version_(text, sizeof text) != rc::success) return "unknown";
  return text;
}

int Library::count(unsigned& devices) const noexcept {
  return count_(&devices);
}

int Library::device(unsigned index, Device& device) const noexcept {
  return by_index_(index, &device);
}

std::string Library::uuid(Device device) const {
  char text[96] = {};
  return uuid_ != nullptr && uuid_(device, text, sizeof text) == rc::success ? text : "";
}

std::string Library::name(Device device) const {
  char text[96] = {};
  return name_ != nullptr && name_(device, text, sizeof text) == rc::success ? text : "";
}

int Library::memory(Device device, std::uint64_t& total, std::uint64_t& free) const noexcept {
  int code = rc::function_not_found;
  if (memory_v2_ != nullptr) {
    MemoryV2 memory{};
    memory.version = version_of<MemoryV2>(2);
    code = memory_v2_(device, &memory);
    total = memory.total;
    free = memory.free;
  }
  const bool other_version = code == rc::function_not_found || code == rc::argument_version_mismatch;
  if (other_version && memory_v1_ != nullptr) {
    Memory memory{};
    code = memory_v1_(device, &memory);
    total = memory.total;
    free = memory.free;
  }
  return code;
}

std::optional<bool> Library::shares_address_translation(Device device) const noexcept {
  if (addressing_mode_ == nullptr) return std::nullopt;
  AddressingMode mode{version_of<AddressingMode>(1), 0};
  if (addressing_mode_(device, &mode) != rc::success) return std::nullopt;
  return mode.value == 2;
}

constexpr std::uint64_t more_than_any = std::uint64_t{1} << 50;  // where the device does not tell what it has

Rows parse_rows(const std::vector<unsigned char>& buffer, unsigned char filled, unsigned count,
                std::optional<std::uint64_t> total) {
  Rows result;
  if (count == 0) return result;
  std::size_t written = buffer.size();
  while (written > 0 && buffer[written - 1] == filled) --written;
  // The last field of a row may be padding that was not written: the smallest known stride that holds it all.
  std::size_t stride = 0;
  for (const std::size_t known : {std::size_t{16}, std::size_t{24}, largest_stride}) {
    if (written <= known * count && stride == 0) stride = known;
  }
  if (stride == 0) {
    result.dropped = count;
    return result;
  }
  for (unsigned i = 0; i < count; ++i) {
    std::uint32_t pid = 0;
    std::uint64_t bytes = 0;
    std::memcpy(&pid, buffer.data() + i * stride, sizeof pid);
    std::memcpy(&bytes, buffer.data() + i * stride + 8, sizeof bytes);
    // A process that has a context has memory: 0 is a driver's other word for "not available".
    const bool known = bytes != value_not_available && bytes != 0;
    if (pid == 0 || pid > largest_pid || (known && bytes > total.value_or(more_than_any))) {
      ++result.dropped;
      continue;
    }
    result.rows.push_back({pid, known ? std::optional(bytes) : std::nullopt});
  }
  return result;
}

Rows Library::list(ListFunction function, Device device, std::optional<std::uint64_t> total) const {
  constexpr unsigned most = 4096;
  unsigned room = 64;
  for (;;) {
    std::vector<unsigned char> buffer(room * largest_stride, filler);
    unsigned count = room;
    const int code = function(device, &count, buffer.data());
    if (code == rc::insufficient_size && room < most) {
      room = std::clamp(count * 2, room * 2, most);
      continue;
    }
    if (code != rc::success) return {code, {}, 0};
    Rows rows = parse_rows(buffer, filler, std::min(count, room), total);
    return rows;
  }
}

Rows Library::processes(Device device, std::optional<std::uint64_t> total) const {
  Rows all{rc::function_not_found, {}, 0};
  for (const ListFunction function : {compute_, graphics_, mps_}) {
    if (function == nullptr) continue;
    const Rows some = list(function, device, total);
    if (some.code != rc::success) {
      // Compute processes are what matters; the others may be unsupported.
      if (function == compute_) return some;
      continue;
    }
    all.code = rc::success;
    all.dropped += some.dropped;
    for (const Row& row : some.rows) {
      const auto same = std::find_if(all.rows.begin(), all.rows.end(),
                                     [&](const Row& other) { return other.pid == row.pid; });
      if (same == all.rows.end()) {
        all.rows.push_back(row);
      } else if (row.bytes) {  // one process in two lists: the larger figure
        same->bytes = std::max(same->bytes.value_or(0), *row.bytes);
      }
    }
  }
  return all;
}

}  // namespace tetrad::guard_nvml
