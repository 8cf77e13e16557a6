#include "cli/engine/copy_rate.h"

#include "io/memory.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

namespace tetrad::cli {
namespace {

constexpr std::uint64_t largest_host_buffer = std::uint64_t{512} << 20;  // above the largest caches there are
constexpr std::uint64_t largest_device_buffer = std::uint64_t{1} << 30;
constexpr std::uint64_t smallest_buffer = std::uint64_t{16} << 20;
constexpr int samples = 7;

std::uint64_t buffer_size(std::uint64_t available, std::uint64_t largest) {
  const std::uint64_t bytes = std::min(largest, available / 32) / 4096 * 4096;
  if (bytes >= smallest_buffer) return bytes;
  throw Error(fmt::format("[bench] {} of memory are left: too little to measure its copy rate",
                          io::format_gib(available)));
}

// Median seconds of `copy`, after two runs that touch all pages.
double median_seconds(const std::function<void()>& copy) {
  for (int i = 0; i < 2; ++i) copy();
  std::vector<double> seconds;
  for (int i = 0; i < samples; ++i) {
    const auto start = std::chrono::steady_clock::now();
    copy();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + samples / 2, seconds.end());
  return seconds[samples / 2];
}

CopyRate host_rate() {
  const auto memory = io::system_memory();
  CopyRate rate;
  rate.buffer_bytes = buffer_size(memory ? memory->available : smallest_buffer * 32, largest_host_buffer);
  rate.threads = at::get_num_threads();
  const auto bytes = static_cast<std::int64_t>(rate.buffer_bytes);
  at::Tensor from = at::zeros({bytes}, at::kByte), to = at::empty({bytes}, at::kByte);
  const auto* source = static_cast<const std::byte*>(from.const_data_ptr());
  auto* target = static_cast<std::byte*>(to.mutable_data_ptr());
  const std::int64_t share = (bytes + rate.threads - 1) / rate.threads;
  const double seconds = median_seconds([&] {
    at::parallel_for(0, bytes, share, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(target + begin, source + begin, static_cast<std::size_t>(end - begin));
    });
  });
  rate.bytes_per_second = 2.0 * static_cast<double>(bytes) / seconds;
  return rate;
}

CopyRate device_rate(const device::Choice& device) {
  const int index = device.device.index();
  const DeviceMemory memory = device.runtime->memory(index);
  const std::int64_t total = device.runtime->info(index).total_bytes;
  CopyRate rate;
  rate.buffer_bytes =
      buffer_size(static_cast<std::uint64_t>(std::max<std::int64_t>(0, total - memory.device_used_bytes)) * 4,
                  largest_device_buffer);
  const auto options = at::TensorOptions().dtype(at::kByte).device(device.device);
  const auto bytes = static_cast<std::int64_t>(rate.buffer_bytes);
  at::Tensor from = at::zeros({bytes}, options), to = at::empty({bytes}, options);
  constexpr int copies = 10;  // so that the launches do not count
  const double seconds = median_seconds([&] {
    for (int i = 0; i < copies; ++i) to.copy_(from);
    device.runtime->synchronize(index);
  });
  rate.bytes_per_second = 2.0 * copies * static_cast<double>(bytes) / seconds;
  return rate;
}

}  // namespace

std::string CopyRate::describe() const {
  return fmt::format("{:.1f} GB/s read and written ({}, buffers of {})", bytes_per_second / 1e9,
                     threads == 0 ? "device to device"
                                  : fmt::format("memcpy on {} thread{}", threads, threads == 1 ? "" : "s"),
                     io::format_gib(buffer_bytes));
}

nlohmann::json CopyRate::to_json() const {
  return {{"bytes_per_second", bytes_per_second},
          {"buffer_bytes", buffer_bytes},
          {"counted", "read + written"},
          {"method", threads == 0 ? "device to device copy" : "memcpy"},
          {"threads", threads == 0 ? nlohmann::json(nullptr) : nlohmann::json(threads)}};
}

CopyRate measure_copy_rate(const device::Choice& device) {
  return device.runtime == nullptr ? host_rate() : device_rate(device);
}

}  // namespace tetrad::cli
