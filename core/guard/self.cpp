#include "guard/self.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tetrad::guard {

namespace {

bool lock_pages(std::string& why) {
  // With a finite RLIMIT_MEMLOCK and MCL_FUTURE a later allocation could fail: then only what is there now.
  rlimit limit{};
  const bool free =
      ::geteuid() == 0 || (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY);
  const int flags = MCL_CURRENT | MCL_ONFAULT | (free ? MCL_FUTURE : 0);
  if (::mlockall(flags) == 0) return true;
  why = fmt::format("pages are not locked in memory: {} (ulimit -l is {} KiB)", std::strerror(errno),
                    limit.rlim_cur == RLIM_INFINITY ? 0 : limit.rlim_cur >> 10);
  return false;
}

bool raise_priority(std::string& why) {
  sched_param real_time{};
  real_time.sched_priority = 1;
  if (::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &real_time) == 0) return true;
  if (::setpriority(PRIO_PROCESS, 0, -15) == 0) return true;
  why = fmt::format("priority is not raised: {}", std::strerror(errno));
  return false;
}

bool lower_oom_score(std::string& why) {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  const bool written = fd >= 0 && ::write(fd, "-900", 4) == 4;
  if (!written) why = fmt::format("oom_score_adj is not lowered: {}", std::strerror(errno));
  if (fd >= 0) ::close(fd);
  return written;
}

}  // namespace

Standing protect_self() {
  Standing standing;
  const auto attempt = [&](bool (*act)(std::string&)) {
    std::string why;
    if (act(why)) return true;
    standing.refused.push_back(why);
    return false;
  };
  standing.locked = attempt(lock_pages);
  standing.prioritised = attempt(raise_priority);
  standing.spared = attempt(lower_oom_score);
  return standing;
}

}  // namespace tetrad::guard
