// From readings to the figures that the policy judges, as pure functions: shared pages counted once, and
// device memory between two readings of the driver's rows. Both never answer less than what is certain; both
// say so when they had to estimate. Sizes in bytes.
//
// Shared pages. The sum of RssAnon + RssShmem over a tree counts a page once for each process that has it, so
// it is an upper bound; what the largest member has is a lower one. While the sum is within the limit nothing
// more need be known. Beyond it the truth is at most what it was a moment ago plus what the machine has lost
// in available memory since (shared pages cost it nothing), put right by each reading of proportional shares;
// 256 MiB of that loss are taken for other programs' where much is shared. Without a reading of shares for
// too long the sum counts.
#pragma once

#include <tetrad/base/guard_sensor.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace tetrad::guard {

// What was read at one moment, kept for looking back.
struct Moment {
  std::int64_t mono_ns = 0;
  std::optional<std::uint64_t> tree_bytes;  // host memory of the tree
  std::optional<std::uint64_t> available_bytes;
};

class History {
 public:
  void add(const Moment& moment) noexcept;
  // The latest moment not after `mono_ns`; the oldest known one where all are later; null when empty.
  const Moment* at(std::int64_t mono_ns) const noexcept;

 private:
  static constexpr std::size_t size = 1024;
  std::array<Moment, size> ring_{};
  std::size_t next_ = 0;
  std::size_t count_ = 0;
};

struct TreeReading {
  std::int64_t mono_ns = 0;
  std::uint64_t sum = 0, largest = 0;
  std::optional<std::uint64_t> available_bytes;
};

// Host memory of the tree, shared pages once.
class SharedPages {
 public:
  // A reading of shares: their sum as of `mono_ns`, and what the machine had available then.
  void take_shares(std::int64_t mono_ns, std::uint64_t proportional_sum,
                   std::optional<std::uint64_t> available_bytes) noexcept;

  // bound: a sum at or below it is an answer by itself (where the first limit in force begins to matter).
  std::uint64_t bytes(const TreeReading& reading, std::optional<std::uint64_t> bound) noexcept;

 private:
  std::optional<std::int64_t> certain_ns_;  // when the estimate was last held against something certain
  std::int64_t shares_ns_ = 0;
  std::uint64_t bytes_ = 0;      // the estimate, at most
  std::uint64_t available_ = 0;  // of the machine at that time
};

// Device memory of the tree out of a sensor's sample.
struct DeviceReading {
  std::optional<std::uint64_t> tree_bytes;      // nothing: no device says what its processes have
  std::optional<std::uint64_t> total_bytes;     // of all devices, what all processes have
  std::optional<std::uint64_t> capacity_bytes;  // of all devices; nothing where one does not say
  bool unified = false;
  bool estimated = false;     // tree_bytes holds growth since the rows were read
  std::uint32_t unknown = 0;  // processes of the tree whose device memory the driver does not tell
  std::uint32_t outside = 0;  // rows of processes that are not in the tree
};

// `now`: the supervisor's own newest moment; what the device's (or, unified, the machine's) use has grown by
// since the rows were read is counted as the tree's, less what the tree took as host memory.
DeviceReading read_devices(const GuardSample& sample, std::span<const GuardProcess> tree,
                           const History& history, const Moment& now) noexcept;

}  // namespace tetrad::guard
