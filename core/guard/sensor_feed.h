// One sensor, seen from the supervisor: starts its helper process, takes what it published, and never waits.
// A helper whose call takes longer than the deadline is late: what it said last grows old and then counts as
// unknown; it is killed and started again, after 1 s, 2 s ... up to 60 s. One that SIGKILL does not end
// (stuck in the kernel) is left alone and not replaced. The helper runs `program` with the arguments
// {"guard-sensor", plugin file} and the page in descriptor 3, an eventfd in 4.
#pragma once

#include "guard/page.h"

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace tetrad::guard {

inline constexpr int helper_page_fd = 3;
inline constexpr int helper_wake_fd = 4;
inline constexpr const char* helper_command = "guard-sensor";

class SensorFeed {
 public:
  // Starts the first helper. Throws Error when the shared page or the process cannot be made.
  SensorFeed(std::string id, std::string program, std::string plugin_file, double deadline_secs = 2);
  ~SensorFeed();  // kills the helper; waits some milliseconds for it at most
  SensorFeed(const SensorFeed&) = delete;
  SensorFeed& operator=(const SensorFeed&) = delete;

  const std::string& id() const noexcept { return id_; }
  pid_t pid() const noexcept { return pid_; }  // of the helper; -1 while none runs

  // What the helper is to know. `period_secs` is a wish.
  void tell(std::span<const GuardProcess> tree, bool want_shares, double period_secs) noexcept;

  // Looks for a new sample and at the helper's health. True when sample() has changed, or has become unknown.
  bool update(std::int64_t now_ns) noexcept;

  // The newest sample that is not too old; null: unknown. Times as in PageSample.
  const GuardSample* sample() const noexcept { return sample_ ? &*sample_ : nullptr; }
  std::int64_t sample_end_ns() const noexcept { return sample_end_ns_; }
  double reading_secs() const noexcept { return reading_secs_; }  // how long the newest one took
  bool answered() const noexcept { return answered_; }            // any sample or refusal so far

  // Why there is nothing, in one line; empty while there is.
  const std::string& problem() const noexcept { return problem_; }
  const std::string& evidence() const noexcept { return evidence_; }
  std::uint32_t restarts() const noexcept { return restarts_; }

  // The supervisor collected this child. True: it was this helper.
  bool ended(pid_t pid, int status) noexcept;

  // pids of helpers that were given up, for ProcessTree::exclude.
  pid_t stuck() const noexcept { return stuck_; }

 private:
  void start();
  void drop(const std::string& why) noexcept;
  bool take_probe() noexcept;

  std::string id_, program_, file_;
  std::int64_t deadline_ns_;
  int page_fd_ = -1, wake_fd_ = -1;
  Page* page_ = nullptr;
  pid_t pid_ = -1, stuck_ = -1;
  std::optional<GuardSample> sample_;
  std::uint32_t version_ = 0;
  std::int64_t sample_end_ns_ = 0;
  std::int64_t started_ns_ = 0;
  std::int64_t killed_ns_ = 0;
  std::int64_t start_at_ns_ = 0;
  double reading_secs_ = 0;
  double backoff_secs_ = 1;
  bool answered_ = false;
  bool refused_ = false;
  std::uint32_t restarts_ = 0;
  std::string problem_, evidence_;
};

}  // namespace tetrad::guard
