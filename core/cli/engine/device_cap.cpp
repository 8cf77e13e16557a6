#include "cli/engine/device_cap.h"

#include "device/memory_cap.h"
#include "guard/settings.h"
#include "io/memory.h"

#include <algorithm>
#include <cstdio>

namespace tetrad::cli {

namespace {

std::int64_t available() {
  const auto memory = io::system_memory();
  return memory ? static_cast<std::int64_t>(memory->available) : 0;
}

}  // namespace

std::optional<std::int64_t> device_limit(const nlohmann::json& limit_gb,
                                         std::optional<std::uint64_t> host_limit, std::int64_t total_bytes,
                                         bool unified) {
  if (!host_limit) return std::nullopt;
  if (unified) return static_cast<std::int64_t>(*host_limit);
  guard::Limits limits;
  limits.limit_bytes = host_limit;
  limits.device_mode = limit_gb == "auto" ? guard::DeviceLimit::automatic : guard::DeviceLimit::same;
  const auto limit = guard::device_limit(limits, static_cast<std::uint64_t>(total_bytes));
  return limit ? std::optional(static_cast<std::int64_t>(*limit)) : std::nullopt;
}

device::Choice choose_device(const RunMessage& run) {
  const std::int64_t before = available();
  device::Choice choice = device::choose(run.config.at("model").at("device").get<std::string>());
  if (choice.runtime == nullptr) return choice;
  const int index = choice.device.index();
  const DeviceInfo info = choice.runtime->info(index);
  const auto limit = device_limit(run.config.at("guard").at("limit_gb"), run.guard_limit_bytes,
                                  info.total_bytes, info.unified_memory);
  if (!limit) return choice;
  const DeviceMemory memory = choice.runtime->memory(index);  // makes the context
  device::CapInput input;
  input.limit_bytes = *limit;
  input.total_bytes = info.total_bytes;
  input.reserved_bytes = memory.reserved_bytes;
  input.unified = info.unified_memory;
  // On unified memory the device's own figure counts the page cache and every program of the machine.
  input.context_bytes =
      input.unified ? before - available() : memory.device_used_bytes - memory.reserved_bytes;
  if (const auto host = io::host_memory(); host && input.unified)
    input.host_bytes = static_cast<std::int64_t>(host->host());
  if (const auto cap = device::memory_cap(input)) {
    device::cap_memory(choice, cap->fraction);
    choice.allocator_limit = cap->bytes;
    std::fprintf(stderr, "[device] %s\n", cap->text(input).c_str());
  }
  return choice;
}

}  // namespace tetrad::cli
