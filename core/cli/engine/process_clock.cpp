#include "cli/engine/process_clock.h"

#include <time.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace tetrad::cli {
namespace {

double boot_seconds() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Field 22 of /proc/PID/stat, in clock ticks since boot; the command name before it may hold spaces.
double start_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t end_of_name = text.rfind(')');
  if (end_of_name == std::string::npos) return boot_seconds();
  std::istringstream fields(text.substr(end_of_name + 1));
  std::string field;
  for (int i = 3; i < 22; ++i) fields >> field;
  double ticks = 0;
  if (!(fields >> ticks)) return boot_seconds();
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace

double seconds_since_host_start() {
  static const double start = start_seconds(getppid());
  return boot_seconds() - start;
}

double seconds_since_engine_start() {
  static const double start = start_seconds(getpid());
  return boot_seconds() - start;
}

}  // namespace tetrad::cli
