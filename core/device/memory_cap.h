// How much libtorch's caching allocator may hold on a device, so that the allocation that would pass the
// guard's limit is refused in the program, before it is made, instead of being noticed after. What the
// allocator does not know of comes off the limit: the driver's context with its loaded kernels, and, where
// device and host share one memory, what the process has there. Sizes in bytes. The arithmetic is here; the
// cap itself is set in libtetrad_cuda.so (choose.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace tetrad::device {

struct CapInput {
  std::int64_t limit_bytes = 0;     // of the guard, for the pool that the device's memory belongs to
  std::int64_t total_bytes = 0;     // of the device
  std::int64_t reserved_bytes = 0;  // held by the allocator already
  // Device in use beyond the allocator right after the context was made. With memory of its own: everybody's
  // on this device; the part over most_context_bytes is taken for other programs'. Unified: what the machine
  // lost in available memory meanwhile.
  std::int64_t context_bytes = 0;
  bool unified = false;
  std::int64_t host_bytes = 0;  // anonymous and shared memory of this process; counts where unified
};

inline constexpr std::int64_t most_context_bytes = std::int64_t{2} << 30;

struct MemoryCap {
  std::int64_t bytes = 0;          // the allocator may hold at most this
  std::int64_t context_bytes = 0;  // that came off for the context
  double fraction = 0;             // of the device, as libtorch takes it: rounded down

  // One line for people, without the program's tag.
  std::string text(const CapInput& input) const;
};

// Nothing where the limit does not bind: the device itself has less. Throws Error(runtime) with the numbers
// where nothing would be left.
std::optional<MemoryCap> memory_cap(const CapInput& input);

}  // namespace tetrad::device
