#include "check/guard_rig.h"

#include "check/case.h"
#include "guard/page.h"
#include "guard/proc.h"
#include "guard/tree.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace tetrad::check {
namespace {

constexpr std::uint64_t more_than_any = std::uint64_t{1} << 50;
constexpr std::int64_t oldest_rows_ns = 10'000'000'000;
constexpr double shares_patience_secs = 1.6;

void require_size(std::optional<std::uint64_t> bytes, const std::string& what, bool may_be_zero) {
  if (!bytes) return;
  require(may_be_zero || *bytes != 0,
          fmt::format("{} is 0: what is not observed is left out, and never 0", what));
  require(*bytes < more_than_any,
          fmt::format("{} is {} bytes, more than any machine has: a driver's word for 'not available'?", what,
                      *bytes));
}

void require_line(const std::string& text, const char* what) {
  require(text.find('\n') == std::string::npos, fmt::format("{} is more than one line: '{}'", what, text));
}

void require_time(std::int64_t at_ns, std::int64_t end_ns, const std::string& what) {
  require(at_ns > 0, what + " has no time");
  require(at_ns <= end_ns, what + " is of the future: times are CLOCK_MONOTONIC in ns");
}

void require_device(const GuardDevice& device, bool lost, std::int64_t end_ns) {
  const std::string name = fmt::format("device '{}'", device.name);
  require_size(device.total_bytes, name + ": its total memory", false);
  require_size(device.used_bytes, name + ": its used memory", true);
  require(!device.total_bytes || !device.used_bytes || *device.used_bytes <= *device.total_bytes,
          fmt::format("{}: {} bytes are used of {}", name, device.used_bytes.value_or(0),
                      device.total_bytes.value_or(0)));
  require(!lost || !device.used_bytes || device.rows_known,
          name + ": a lost device has no figures, but one was given without its processes");
  require(device.rows_known || device.rows.empty(), name + ": it has rows and says that they are unknown");
  if (!device.rows_known) return;
  require_time(device.rows_ns, end_ns, name + ": its rows");
  require(end_ns - device.rows_ns < oldest_rows_ns,
          fmt::format("{}: its rows are {:.0f} s old", name,
                      static_cast<double>(end_ns - device.rows_ns) * 1e-9));
  for (const GuardDeviceRow& row : device.rows) {
    const std::string who = fmt::format("{}: the row of pid {}", name, row.process.pid);
    require(row.process.pid > 0, who + " is no process");
    require_size(row.bytes, who, false);
    require(!row.bytes || !device.total_bytes || *row.bytes <= *device.total_bytes,
            fmt::format("{} has {} bytes, more than the device", who, row.bytes.value_or(0)));
  }
}

}  // namespace

void require_sane(const GuardSample& sample, std::int64_t end_ns) {
  require_line(sample.problem, "problem");
  require(sample.devices.size() <= guard::most_devices,
          fmt::format("{} devices, the guard keeps {}", sample.devices.size(), guard::most_devices));
  std::set<std::string> names;
  for (const GuardDevice& device : sample.devices) {
    require(device.uuid.empty() || names.insert(device.uuid).second,
            fmt::format("two devices are called '{}'", device.uuid));
    require_device(device, sample.device_lost, end_ns);
  }
  if (!sample.shares.empty()) require_time(sample.shares_ns, end_ns, "the reading of shares");
  std::set<std::int32_t> pids;
  for (const GuardShare& share : sample.shares) {
    const std::int32_t pid = share.process.pid;
    require(pids.insert(pid).second, fmt::format("the share of pid {} is there twice", pid));
    require_size(share.proportional_bytes, fmt::format("the share of pid {}", pid), false);
  }
  require(
      !sample.pressure_full_avg10 || (*sample.pressure_full_avg10 >= 0 && *sample.pressure_full_avg10 <= 100),
      fmt::format("memory pressure of {} percent", sample.pressure_full_avg10.value_or(0)));
  require_size(sample.group_limit_bytes, "the control group's limit", false);
  require_size(sample.group_used_bytes, "the control group's use", true);
}

GuardRig::GuardRig(const Target& target)
    : sensor_(plugin::create<GuardSensor>(plugin::load(target.file), "guard", target.options.at("guard"))) {
  const std::int64_t begin = guard::monotonic_ns();
  const Status status = sensor_->probe(evidence_);
  const double secs = static_cast<double>(guard::monotonic_ns() - begin) * 1e-9;
  require(secs < 5 * guard_deadline_secs, fmt::format("probe took {:.1f} s", secs));
  if (!status.ok()) {
    require(!status.message.empty(), "probe refused without a word about why");
    require_line(status.message, "the refusal of probe");
    throw Skip("there is nothing to observe here: " + status.message);
  }
  require(!evidence_.empty(), "probe went well and left `evidence` empty: doctor has nothing to say of it");
  require(evidence_.find('\n') == std::string::npos, "`evidence` is more than one line");
}

GuardSample GuardRig::read(const std::vector<GuardProcess>& tree, bool want_shares) {
  GuardSample sample;
  const std::int64_t begin = guard::monotonic_ns();
  const Status status = sensor_->sample({tree, want_shares}, sample);
  const std::int64_t end = guard::monotonic_ns();
  const double secs = static_cast<double>(end - begin) * 1e-9;
  slowest_ = std::max(slowest_, secs);
  require(secs < guard_deadline_secs,
          fmt::format("a reading took {:.2f} s; after {} s the guard ends the helper, and what the sensor "
                      "watches is unknown",
                      secs, guard_deadline_secs));
  require(status.ok() || !status.message.empty(), "a reading failed without a word about why");
  if (status.ok()) require_sane(sample, end);
  return sample;
}

GuardSample GuardRig::fresh_shares(const std::vector<GuardProcess>& tree) {
  const std::int64_t begin = guard::monotonic_ns();
  const std::int64_t end = begin + static_cast<std::int64_t>(shares_patience_secs * 1e9);
  while (guard::monotonic_ns() < end) {
    GuardSample sample = read(tree, true);
    if (sample.shares_ns > begin) return sample;
    ::poll(nullptr, 0, 20);
  }
  throw Skip("the sensor reads no shares of processes");
}

Holder::Holder(std::size_t own_bytes, void* shared, std::size_t shared_bytes) {
  int ends[2] = {-1, -1};
  if (::pipe(ends) != 0) throw Failure("no pipe for a test program");
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(ends[0]);
    if (own_bytes > 0) {
      void* at = ::mmap(nullptr, own_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (at == MAP_FAILED) ::_exit(1);
      std::memset(at, 1, own_bytes);
    }
    if (shared != nullptr) std::memset(shared, 1, shared_bytes);
    if (::write(ends[1], "x", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(ends[1]);
  char byte = 0;
  const bool ready = pid > 0 && ::read(ends[0], &byte, 1) == 1;
  ::close(ends[0]);
  process_.pid = pid;
  const auto stat = ready ? guard::read_stat(pid) : std::nullopt;
  if (!stat) throw Failure("a test program could not be started");
  process_.start_ticks = stat->start_ticks;
}

void Holder::end() noexcept {
  if (process_.pid <= 0) return;
  ::kill(process_.pid, SIGKILL);
  ::waitpid(process_.pid, nullptr, 0);
  process_.pid = -1;
}

}  // namespace tetrad::check
