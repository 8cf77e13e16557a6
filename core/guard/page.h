// The memory that the supervisor and one sensor helper share: the supervisor writes the process tree and how
// often it wants readings, the helper writes its newest sample. Plain numbers and fixed sizes, each half
// under a sequence count, so that neither side ever waits for the other: a reader that meets a writer in the
// middle tries a few times and else goes on with what it had. What the helper writes is checked like any
// foreign input: counts beyond the arrays are cut.
#pragma once

#include <tetrad/base/guard_sensor.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace tetrad::guard {

inline constexpr std::uint32_t page_magic = 0x54475031;  // "TGP1"
inline constexpr std::size_t most_members = 4096;
inline constexpr std::size_t most_devices = 16;
inline constexpr std::size_t most_rows = 512;

struct PageTree {
  std::uint32_t want_shares = 0;
  std::uint32_t count = 0;
  std::array<GuardProcess, most_members> members;
};

struct PageDevice {
  char uuid[64];
  char name[64];
  std::uint64_t total_bytes, used_bytes, used_at_rows_bytes;
  std::int64_t rows_ns;
  std::uint32_t rows_dropped;
  std::uint8_t has_total, has_used, has_used_at_rows, unified, rows_known;
};

struct PageRow {
  std::uint32_t device;
  std::uint8_t has_bytes;
  GuardProcess process;
  std::uint64_t bytes;
};

struct PageSample {
  std::int64_t begin_ns, end_ns;  // of the reading
  std::int32_t status;            // StatusCode
  char problem[256];
  std::uint32_t device_count, row_count, share_count;
  std::array<PageDevice, most_devices> devices;
  std::array<PageRow, most_rows> rows;
  std::array<GuardShare, most_members> shares;
  std::int64_t shares_ns;
  double pressure;
  std::uint64_t group_limit, group_used, group_oom_kills;
  std::uint8_t has_pressure, has_group_limit, has_group_used, has_group_oom_kills, device_lost;
};

// A value of trivially copyable T with one writer and any number of readers in other processes.
template <class T>
class Published {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // Only the one writer may call these.
  T& begin() noexcept {
    sequence_.fetch_add(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return value_;
  }
  void end() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    sequence_.fetch_add(1, std::memory_order_release);
  }

  // 0 before the first value; even and larger with each later one.
  std::uint32_t version() const noexcept { return sequence_.load(std::memory_order_acquire); }

  // read(value) may see a torn value; it counts only when this answers true.
  template <class F>
  bool read(F&& use) const noexcept {
    for (int attempt = 0; attempt < 4; ++attempt) {
      const std::uint32_t before = sequence_.load(std::memory_order_acquire);
      if (before == 0 || before % 2 != 0) continue;
      use(value_);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (sequence_.load(std::memory_order_acquire) == before) return true;
    }
    return false;
  }

 private:
  std::atomic<std::uint32_t> sequence_{0};
  T value_{};
};

struct Page {
  std::uint32_t magic = page_magic;
  std::atomic<std::uint32_t> period_us{500'000};  // wanted time between two readings
  std::atomic<std::int64_t> call_since_ns{0};     // helper: when the call now running began; 0 = none runs
  std::atomic<std::uint32_t> probed{0};           // 1: probe went well, 2: it did not
  char evidence[512] = {};                        // what probe said; written before `probed`
  Published<PageTree> tree;
  Published<PageSample> sample;
};

// Copies as much as fits and terminates it.
template <std::size_t N>
void put_text(char (&to)[N], std::string_view text) noexcept {
  const std::size_t length = text.size() < N ? text.size() : N - 1;
  for (std::size_t i = 0; i < length; ++i) to[i] = text[i];
  to[length] = '\0';
}

// Between the sensor's types and the page's.
void store(const GuardSample& sample, const Status& status, std::int64_t begin_ns, std::int64_t end_ns,
           PageSample& to) noexcept;
GuardSample load(const PageSample& from);

}  // namespace tetrad::guard
