#include "guard/keeper.h"

#include "guard/proc.h"
#include "guard/self.h"
#include "guard/tree.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <vector>

namespace tetrad::guard {

namespace {

constexpr std::int64_t patience_ns = 5'000'000'000;

struct Scan {
  std::vector<ProcStat>* found;
};

void add(void* context, pid_t pid) {
  auto& found = *static_cast<Scan*>(context)->found;
  const auto stat = found.size() < found.capacity() ? read_stat(pid) : std::nullopt;
  if (stat) found.push_back(*stat);
}

bool listed(const std::vector<GuardProcess>& list, pid_t pid, std::uint64_t start_ticks) {
  return std::any_of(list.begin(), list.end(), [&](const GuardProcess& one) {
    return one.pid == pid && (start_ticks == 0 || one.start_ticks == start_ticks);
  });
}

// Kills all of `list` and what descends from them; children found are added to it. How many were alive.
std::size_t kill_listed(std::vector<GuardProcess>& list, std::vector<ProcStat>& table) {
  for (const GuardProcess& one : list) kill_exactly(one.pid, one.start_ticks);
  table.clear();
  Scan scan{&table};
  for_each_pid("/proc", add, &scan);
  bool grown = true;
  while (grown && list.size() < list.capacity()) {
    grown = false;
    for (const ProcStat& stat : table) {
      if (list.size() == list.capacity()) break;
      if (!listed(list, stat.parent, 0) || listed(list, stat.pid, stat.start_ticks)) continue;
      // A parent's number that was reused belongs to a younger process than its old children; only a parent
      // that is still the listed one counts.
      const auto parent = std::find_if(table.begin(), table.end(),
                                       [&](const ProcStat& other) { return other.pid == stat.parent; });
      if (parent == table.end() || !listed(list, parent->pid, parent->start_ticks)) continue;
      list.push_back({stat.pid, stat.start_ticks});
      kill_exactly(stat.pid, stat.start_ticks);
      grown = true;
    }
  }
  // What is a zombie was "killed" too; count only those that still run.
  const auto runs = [&](const ProcStat& stat) {
    return stat.state != 'Z' && stat.state != 'X' && listed(list, stat.pid, stat.start_ticks);
  };
  return static_cast<std::size_t>(std::count_if(table.begin(), table.end(), runs));
}

// Where the keeper has its descriptors.
enum Fd : int { guard_fd = 60, wanted_fd, group_fd, end_fd };

void only_these(int guard, int wanted, int group) {
  // Descriptors of the guard (control channel, logs) must not stay open in here.
  if (::dup2(guard, guard_fd) != guard_fd || ::dup2(wanted, wanted_fd) != wanted_fd ||
      (group >= 0 && ::dup2(group, group_fd) != group_fd))
    ::_exit(1);
  const int nothing = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) ::dup2(nothing, fd);
  for (int fd = 3; fd < guard_fd; ++fd) ::close(fd);
  if (group < 0) ::close(group_fd);
  if (::syscall(SYS_close_range, static_cast<unsigned>(end_fd), ~0U, 0) != 0) {
    for (int fd = end_fd; fd < 1024; ++fd) ::close(fd);
  }
}

void take(const Published<PageTree>& list, std::vector<GuardProcess>& members) {
  list.read([&](const PageTree& from) {
    members.assign(
        from.members.begin(),
        from.members.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(from.count, most_members)));
  });
}

bool guard_has_ended() {
  pollfd death{guard_fd, POLLIN, 0};
  return ::poll(&death, 1, 0) == 1;
}

// Gives back the memory of those whom the guard has killed.
void release(const Published<PageTree>& list, std::vector<GuardProcess>& members) {
  std::uint64_t count = 0;
  if (::read(wanted_fd, &count, sizeof count) != sizeof count) return;
  // It may take seconds: ahead of ordinary programs, but not of everything as while waiting.
  const sched_param ordinary{};
  ::sched_setscheduler(0, SCHED_OTHER, &ordinary);
  ::setpriority(PRIO_PROCESS, 0, -20);
  take(list, members);
  for (const GuardProcess& one : members) {
    if (guard_has_ended()) return;
    release_memory(one.pid, one.start_ticks);
  }
}

[[noreturn]] void keep(int guard, int wanted, int kill_fd, const char* group,
                       const Published<PageTree>& list) {
  ::setsid();
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGTSTP}) ::signal(signal, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::prctl(PR_SET_NAME, "tetrad-keeper");
  only_these(guard, wanted, kill_fd);
  protect_self();  // it is wanted when memory and processor are short
  std::vector<GuardProcess> members;
  std::vector<ProcStat> table;
  members.reserve(4 * most_members);
  table.reserve(32768);
  while (!guard_has_ended()) {
    pollfd events[2] = {{guard_fd, POLLIN, 0}, {wanted_fd, POLLIN, 0}};
    if (::poll(events, 2, -1) > 0 && events[1].revents != 0) release(list, members);
  }
  if (kill_fd >= 0 && ::write(group_fd, "1", 1) != 1) ::close(group_fd);
  take(list, members);
  const std::int64_t end = monotonic_ns() + patience_ns;
  for (int empty = 0; empty < 2 && monotonic_ns() < end;) {
    empty = kill_listed(members, table) == 0 ? empty + 1 : 0;
    ::poll(nullptr, 0, 1);
  }
  if (kill_fd >= 0) {
    const ssize_t again = ::write(group_fd, "1", 1);
    static_cast<void>(again);
    // Refused while somebody in it is not reaped yet; a later guard may have removed it before.
    for (int i = 0; i < 100 && ::rmdir(group) != 0 && errno != ENOENT; ++i) ::poll(nullptr, 0, 50);
  }
  ::_exit(0);
}

}  // namespace

Keeper::Keeper(const Group& group) {
  const int guard = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  void* at =
      ::mmap(nullptr, sizeof(Published<PageTree>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  release_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (guard >= 0 && release_fd_ >= 0 && at != MAP_FAILED) {
    list_ = new (at) Published<PageTree>;
    tell({});
    pid_ = ::fork();
    if (pid_ == 0) keep(guard, release_fd_, group.kill_fd(), group.path().c_str(), *list_);
  }
  if (guard >= 0) ::close(guard);
}

Keeper::~Keeper() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  if (release_fd_ >= 0) ::close(release_fd_);
  if (list_ != nullptr) ::munmap(list_, sizeof(Published<PageTree>));
}

void Keeper::tell(std::span<const GuardProcess> tree) noexcept {
  if (list_ == nullptr) return;
  PageTree& to = list_->begin();
  to.count = static_cast<std::uint32_t>(std::min(tree.size(), most_members));
  std::copy_n(tree.begin(), to.count, to.members.begin());
  list_->end();
}

void Keeper::release(std::span<const GuardProcess> killed) noexcept {
  if (pid_ <= 0) return;
  tell(killed);
  const std::uint64_t one = 1;
  const ssize_t written = ::write(release_fd_, &one, sizeof one);
  static_cast<void>(written);  // without it they end by themselves
}

}  // namespace tetrad::guard
