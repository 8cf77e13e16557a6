// NVIDIA's management library, loaded at run time: nothing links to it, and a machine without a driver is no
// error. Only the functions and the layouts that the sensor needs, with the suffixed symbols that the library
// keeps stable. Numbers are those of nvml.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::guard_nvml {

using Device = struct OpaqueDevice*;

namespace rc {
inline constexpr int success = 0;
inline constexpr int not_supported = 3;
inline constexpr int no_permission = 4;
inline constexpr int insufficient_size = 7;
inline constexpr int function_not_found = 13;
inline constexpr int gpu_is_lost = 15;
inline constexpr int reset_required = 16;
inline constexpr int version_mismatch = 18;
inline constexpr int argument_version_mismatch = 25;
}  // namespace rc

inline constexpr std::uint64_t value_not_available = ~std::uint64_t{0};

struct Memory {
  std::uint64_t total, free, used;
};

struct MemoryV2 {
  std::uint32_t version;
  std::uint64_t total, reserved, free, used;
};

// One row of a process list; nothing: the library gives no value.
struct Row {
  std::uint32_t pid;
  std::optional<std::uint64_t> bytes;
};

struct Rows {
  int code = rc::success;
  std::vector<Row> rows;
  std::uint32_t dropped = 0;  // that made no sense
};

class Library {
 public:
  // Loads `name` (libnvidia-ml.so.1) and calls init. The reason of a failure is in problem().
  explicit Library(const std::string& name);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  const std::string& problem() const noexcept { return problem_; }
  std::string driver_version() const;
  std::string error_text(int code) const;

  int count(unsigned& devices) const noexcept;
  int device(unsigned index, Device& device) const noexcept;
  std::string uuid(Device device) const;
  std::string name(Device device) const;

  // total and free; version 2 first, which leaves reserved memory out of `used`.
  int memory(Device device, std::uint64_t& total, std::uint64_t& free) const noexcept;

  // Address translation shared with the CPU (ATS): evidence of unified memory. Nothing where it is not told.
  std::optional<bool> shares_address_translation(Device device) const noexcept;

  // Compute, graphics and MPS processes together, each pid once. `total` bounds what a row may claim.
  Rows processes(Device device, std::optional<std::uint64_t> total) const;

 private:
  using ListFunction = int (*)(Device, unsigned*, void*);
  template <class F>
  void find(F& function, const char* name);
  Rows list(ListFunction function, Device device, std::optional<std::uint64_t> total) const;

  void* handle_ = nullptr;
  bool started_ = false;
  std::string problem_;
  int (*init_)() = nullptr;
  int (*shutdown_)() = nullptr;
  const char* (*error_string_)(int) = nullptr;
  int (*driver_version_)(char*, unsigned) = nullptr;
  int (*count_)(unsigned*) = nullptr;
  int (*by_index_)(unsigned, Device*) = nullptr;
  int (*uuid_)(Device, char*, unsigned) = nullptr;
  int (*name_)(Device, char*, unsigned) = nullptr;
  int (*memory_v1_)(Device, Memory*) = nullptr;
  int (*memory_v2_)(Device, MemoryV2*) = nullptr;
  int (*addressing_mode_)(Device, void*) = nullptr;
  ListFunction compute_ = nullptr, graphics_ = nullptr, mps_ = nullptr;
};

// Rows out of the bytes that a list function wrote. Their size changed between drivers under one name, so it
// is taken from how much was written: `buffer` was filled with `filler` before. Known strides: 16 (pid and
// bytes), 24 (with the ids of a MIG instance), 32. Rows with pid 0 or more memory than `total` are dropped
// and counted.
Rows parse_rows(const std::vector<unsigned char>& buffer, unsigned char filler, unsigned count,
                std::optional<std::uint64_t> total);

}  // namespace tetrad::guard_nvml
