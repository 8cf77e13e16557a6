#include "device/memory_cap.h"

#include "io/memory.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>

namespace tetrad::device {

namespace {

std::string gib(std::int64_t bytes) {
  return io::format_gib(static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 0)));
}

std::string parts(const CapInput& input, std::int64_t context) {
  const std::string host =
      input.unified ? fmt::format(" and {} that this process has as host memory", gib(input.host_bytes)) : "";
  return fmt::format("the guard's limit of {} less {} for the context{}", gib(input.limit_bytes),
                     gib(context), host);
}

}  // namespace

std::string MemoryCap::text(const CapInput& input) const {
  return fmt::format("libtorch's allocator may hold {}: {}", gib(bytes), parts(input, context_bytes));
}

std::optional<MemoryCap> memory_cap(const CapInput& input) {
  MemoryCap cap;
  cap.context_bytes = std::clamp<std::int64_t>(input.context_bytes, 0, most_context_bytes);
  cap.bytes = input.limit_bytes - cap.context_bytes - (input.unified ? input.host_bytes : 0);
  if (cap.bytes <= input.reserved_bytes) {
    throw Error(fmt::format("[device] nothing is left for the model: {}; raise guard.limit_gb",
                            parts(input, cap.context_bytes)));
  }
  if (cap.bytes >= input.total_bytes) return std::nullopt;
  // libtorch multiplies again: never a byte more than the cap.
  cap.fraction = static_cast<double>(cap.bytes) / static_cast<double>(input.total_bytes);
  while (static_cast<std::int64_t>(cap.fraction * static_cast<double>(input.total_bytes)) > cap.bytes)
    cap.fraction = std::nextafter(cap.fraction, 0.0);
  return cap;
}

}  // namespace tetrad::device
