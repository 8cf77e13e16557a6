#include "guard/sensor_feed.h"

#include "guard/tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <vector>

namespace tetrad::guard {

namespace {

constexpr double longest_backoff_secs = 60;
constexpr std::int64_t second_ns = 1'000'000'000;
constexpr std::int64_t start_allowance_ns = 10 * second_ns;  // loading a driver's library takes its time

// In the child: both descriptors to their places, whichever they had.
[[noreturn]] void become_helper(const char* program, char* const* argv, int page, int wake, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);
  ::setsid();  // the terminal's signals are not for helpers
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int nothing = ::open("/dev/null", O_RDWR);
  if (nothing >= 0) {
    ::dup2(nothing, 0);
    ::dup2(nothing, 1);
    ::dup2(nothing, 2);
  }
  const int high_page = ::fcntl(page, F_DUPFD, 16);
  const int high_wake = ::fcntl(wake, F_DUPFD, 16);
  ::dup2(high_page, helper_page_fd);  // clears close-on-exec
  ::dup2(high_wake, helper_wake_fd);
  ::close(high_page);
  ::close(high_wake);
  ::execv(program, argv);
  ::_exit(127);
}

}  // namespace

SensorFeed::SensorFeed(std::string id, std::string program, std::string plugin_file, double deadline_secs)
    : id_(std::move(id)),
      program_(std::move(program)),
      file_(std::move(plugin_file)),
      deadline_ns_(static_cast<std::int64_t>(deadline_secs * 1e9)) {
  page_fd_ = ::memfd_create("tetrad-guard-page", MFD_CLOEXEC);
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  void* at = MAP_FAILED;
  if (page_fd_ >= 0 && wake_fd_ >= 0 && ::ftruncate(page_fd_, sizeof(Page)) == 0)
    at = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, page_fd_, 0);
  if (at == MAP_FAILED) {
    const int reason = errno;
    if (page_fd_ >= 0) ::close(page_fd_);
    if (wake_fd_ >= 0) ::close(wake_fd_);
    throw Error(fmt::format("[guard] no page to share with the sensor {}: {}", id_, std::strerror(reason)));
  }
  page_ = new (at) Page;
  start();
}

SensorFeed::~SensorFeed() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    for (int i = 0; i < 50 && ::waitpid(pid_, nullptr, WNOHANG) == 0; ++i) ::poll(nullptr, 0, 1);
  }
  ::munmap(page_, sizeof(Page));
  ::close(page_fd_);
  ::close(wake_fd_);
}

void SensorFeed::start() {
  std::string command = helper_command;
  std::vector<char*> argv = {program_.data(), command.data(), file_.data(), nullptr};
  page_->call_since_ns.store(0);
  page_->probed.store(0);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become_helper(program_.c_str(), argv.data(), page_fd_, wake_fd_, parent);
  if (pid_ < 0) problem_ = fmt::format("its helper cannot be started: {}", std::strerror(errno));
  started_ns_ = monotonic_ns();
  killed_ns_ = 0;
}

void SensorFeed::tell(std::span<const GuardProcess> tree, bool want_shares, double period_secs) noexcept {
  PageTree& to = page_->tree.begin();
  to.want_shares = want_shares ? 1 : 0;
  to.count = static_cast<std::uint32_t>(std::min(tree.size(), most_members));
  std::copy_n(tree.begin(), to.count, to.members.begin());
  page_->tree.end();
  const auto period = static_cast<std::uint32_t>(std::clamp(period_secs, 0.002, 60.0) * 1e6);
  if (page_->period_us.exchange(period) > period) {
    const std::uint64_t one = 1;
    const ssize_t written = ::write(wake_fd_, &one, sizeof one);
    static_cast<void>(written);  // full: it wakes anyway
  }
}

void SensorFeed::drop(const std::string& why) noexcept {
  sample_.reset();
  problem_ = why;
}

// What the probe said. True: it refused just now.
bool SensorFeed::take_probe() noexcept {
  const std::uint32_t probed = page_->probed.load(std::memory_order_acquire);
  if (probed == 0 || !evidence_.empty()) return false;
  evidence_.assign(page_->evidence, ::strnlen(page_->evidence, sizeof page_->evidence));
  if (probed != 2) return false;
  refused_ = true;
  answered_ = true;
  drop(evidence_);
  return true;
}

bool SensorFeed::update(std::int64_t now_ns) noexcept {
  bool changed = false;
  if (pid_ < 0) {
    if (stuck_ > 0 || refused_ || now_ns < start_at_ns_) return false;
    ++restarts_;
    start();
    return false;
  }
  const std::uint32_t version = page_->sample.version();
  if (version != version_) {
    GuardSample taken;
    PageSample head;
    if (page_->sample.read([&](const PageSample& from) {
          taken = load(from);
          head.begin_ns = from.begin_ns;
          head.end_ns = from.end_ns;
          head.status = from.status;
        })) {
      version_ = version;
      changed = true;
      answered_ = true;
      sample_end_ns_ = head.end_ns;
      reading_secs_ = static_cast<double>(head.end_ns - head.begin_ns) * 1e-9;
      if (head.status == static_cast<std::int32_t>(StatusCode::ok)) {
        problem_ = taken.problem;
        sample_ = std::move(taken);
        backoff_secs_ = 1;
      } else {
        drop(taken.problem);
      }
    }
  }
  changed = take_probe() || changed;
  if (killed_ns_ != 0) {  // SIGKILL was sent; ended() comes, or it never will
    if (now_ns - killed_ns_ > second_ns && stuck_ < 0) {
      stuck_ = pid_;
      drop("its helper hangs inside the kernel and cannot be ended");
      changed = true;
    }
    return changed;
  }
  const std::int64_t since = page_->call_since_ns.load(std::memory_order_relaxed);
  const bool starting = since == 0 && version_ == 0 && !refused_;
  const std::int64_t waited = since != 0 ? now_ns - since : (starting ? now_ns - started_ns_ : 0);
  if (waited > (starting ? start_allowance_ns : deadline_ns_)) {
    answered_ = true;
    drop(fmt::format("no answer for {:.1f} s; its helper is started again",
                     static_cast<double>(waited) * 1e-9));
    ::kill(pid_, SIGKILL);
    killed_ns_ = now_ns;
    changed = true;
  }
  return changed;
}

bool SensorFeed::ended(pid_t pid, int status) noexcept {
  if (pid != pid_ && pid != stuck_) return false;
  if (pid == stuck_) stuck_ = -1;
  if (pid != pid_) return true;
  pid_ = -1;
  take_probe();
  start_at_ns_ = monotonic_ns() + static_cast<std::int64_t>(backoff_secs_ * 1e9);
  backoff_secs_ = std::min(backoff_secs_ * 2, longest_backoff_secs);
  if (killed_ns_ == 0 && !refused_) {
    answered_ = true;
    drop(WIFSIGNALED(status) ? fmt::format("its helper was ended by signal {}", WTERMSIG(status))
                             : fmt::format("its helper ended with exit code {}", WEXITSTATUS(status)));
  }
  return true;
}

}  // namespace tetrad::guard
