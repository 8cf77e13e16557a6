// `host guard --verify`: proves on this machine what the guard promises. The sensors answer; a program of
// ours that takes memory is ended at a small limit, also as a daemon; one that asks for more than the machine
// has is refused. Takes some seconds and less than 1 GiB. Exit code 0, or 1 with what failed.
#include "cli/host/commands.h"
#include "cli/launch/prepare.h"
#include "cli/supervise/supervisor.h"
#include "guard/proc.h"
#include "guard/sensor_feed.h"
#include "guard/settings.h"
#include "guard/tree.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>

namespace tetrad::cli {

namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t test_limit = 256 * mib;
constexpr std::size_t hog_bytes = 768 * mib;  // where it stops by itself should the guard fail
constexpr double sensor_patience_secs = 12;

struct Verdicts {
  int failed = 0;
  void say(bool good, const std::string& what) {
    fmt::print("{:<6} {}\n", good ? "ok" : "FAILED", what);
    if (!good) ++failed;
  }
};

void check_sensors(const std::vector<SensorChoice>& sensors, Verdicts& verdicts) {
  const guard::Capacity capacity = guard::read_capacity();
  verdicts.say(capacity.process_memory_readable && capacity.total_bytes && capacity.available_bytes,
               fmt::format("guard-host: memory of processes {}, machine {}, available {}",
                           capacity.process_memory_readable ? "readable" : "not readable",
                           guard::format_or_unknown(capacity.total_bytes),
                           guard::format_or_unknown(capacity.available_bytes)));
  for (const SensorChoice& sensor : sensors) {
    guard::SensorFeed feed(sensor.id, "/proc/self/exe", sensor.file);
    feed.tell({}, false, 0.1);
    const std::int64_t end = guard::monotonic_ns() + static_cast<std::int64_t>(sensor_patience_secs * 1e9);
    while (!feed.answered() && guard::monotonic_ns() < end) {
      ::poll(nullptr, 0, 5);
      feed.update(guard::monotonic_ns());
    }
    const bool good = feed.sample() != nullptr && feed.problem().empty();
    verdicts.say(good, fmt::format("{}: {}", sensor.id, good ? feed.evidence() : feed.problem()));
  }
}

void check_kill(const char* how, Verdicts& verdicts) {
  Supervision supervision;
  supervision.limits.emplace();
  supervision.limits->limit_bytes = test_limit;
  supervision.limits->poll_secs = 0.05;
  Program program;
  program.file = "/proc/self/exe";
  program.arguments = {guard_hog_command, how};
  const Outcome outcome = supervise(std::move(program), std::nullopt, supervision);
  const bool killed =
      outcome.exit_code == static_cast<int>(ExitCode::guard_killed) && outcome.end == End::guard;
  std::string detail = fmt::format("exit code {}", outcome.exit_code);
  bool good = killed;
  if (killed) {
    const nlohmann::json& report = outcome.kill_report;
    const double bytes = report.at("bytes").is_number() ? report.at("bytes").get<double>() : 0;
    const nlohmann::json& times = report.at("times_s");
    good = report.at("survivors") == 0 && bytes < static_cast<double>(hog_bytes);
    detail = fmt::format(
        "ended at {:.0f} of {} MiB, growing by {:.0f} MiB/s; all gone {:.0f} ms after the decision",
        bytes / mib, test_limit / mib, report.at("rate_bytes_per_s").get<double>() / mib,
        times.at("all_gone").is_number()
            ? 1e3 * (times.at("all_gone").get<double>() - times.at("decided").get<double>())
            : -1.0);
  }
  verdicts.say(good,
               fmt::format("a {} over a limit of {} MiB: {}",
                           std::strcmp(how, "daemon") == 0 ? "daemon" : "program", test_limit / mib, detail));
}

// What no machine has must be refused at once, not granted and then paid for.
void check_refusal(Verdicts& verdicts) {
  const auto total = guard::read_meminfo().total_bytes;
  if (!total) return verdicts.say(false, "a refused allocation: the machine's memory is unknown");
  const std::size_t wanted = *total * 2;
  void* at = ::mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool refused = at == MAP_FAILED;
  if (!refused) ::munmap(at, wanted);
  verdicts.say(refused, fmt::format("an allocation of {} (twice the machine): {}", guard::format_gib(wanted),
                                    refused ? "refused"
                                            : "granted; vm.overcommit_memory is 1, so only the guard stands "
                                              "between a program and the machine's end"));
  bool limit_refused = false;
  try {
    guard::Settings settings;
    settings.limit_gb = static_cast<double>(wanted) / static_cast<double>(std::uint64_t{1} << 30);
    guard::make_limits(settings, guard::read_capacity());
  } catch (const Error&) {
    limit_refused = true;
  }
  verdicts.say(limit_refused, "a limit beyond the machine's memory is refused");
}

}  // namespace

int run_guard_hog(const std::string& how) {
  if (how == "daemon") {
    if (::fork() != 0) {
      for (;;) ::pause();
    }
    ::setsid();
    if (::fork() != 0) ::_exit(0);
  }
  constexpr std::size_t step = 4 * mib;
  for (std::size_t taken = 0; taken < hog_bytes; taken += step) {
    void* at = ::mmap(nullptr, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) break;
    std::memset(at, 1, step);
    ::poll(nullptr, 0, 1);
  }
  ::poll(nullptr, 0, 5000);
  return 0;
}

int run_guard_verify_command(const Arguments& arguments) {
  Verdicts verdicts;
  check_sensors(choose_sensors(open_registry(arguments.plugin_paths, {}, {}), arguments.sensors), verdicts);
  check_kill("program", verdicts);
  check_kill("daemon", verdicts);
  check_refusal(verdicts);
  return verdicts.failed == 0 ? 0 : static_cast<int>(ExitCode::runtime);
}

}  // namespace tetrad::cli
