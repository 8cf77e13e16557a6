// The process tree on real processes: grandchildren, double forks with setsid, stopped and hidden ones are
// found, measured and killed. This test program is the supervisor (a subreaper).
#include "guard/tree.h"
#include "guard/guard.h"
#include "guard/keeper.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <vector>

namespace tetrad::guard {
namespace {

const pid_t test_process = ::getpid();
constexpr std::size_t mib = std::size_t{1} << 20;

// Forks; the child runs `body` and then sleeps until killed. It reports readiness through a pipe.
class Child {
 public:
  explicit Child(const std::function<void()>& body, bool main_thread_ends = false) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      // Children of the test itself do not outlive it when it crashes; orphans further down are what is
      // tested.
      if (::getppid() == test_process) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(ends[0]);
      body();
      const char done = 'x';
      if (::write(ends[1], &done, 1) != 1) ::_exit(1);
      if (main_thread_ends) ::syscall(SYS_exit, 0);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    char byte = 0;
    EXPECT_EQ(::read(ends[0], &byte, 1), 1);
    ::close(ends[0]);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

void touch(std::size_t bytes, int flags) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (at == MAP_FAILED) ::_exit(2);
  std::memset(at, 1, bytes);
}

void reap(void*) {
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

// What a child that does nothing has after a fork: our own pages (many, with a sanitizer).
std::size_t ours() {
  return read_process_memory(::getpid()).bytes;
}

class Tree : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0); }
  void TearDown() override { EXPECT_EQ(tree_.kill_all(10, reap, nullptr), 0U); }
  ProcessTree tree_{::getpid()};
};

TEST_F(Tree, NobodyIsZeroNotUnknown) {
  EXPECT_EQ(tree_.memory(), 0U);
  EXPECT_EQ(tree_.size(), 0U);
}

TEST_F(Tree, CountsAnonymousAndSharedMemoryOfGrandchildren) {
  const Child child([] {
    touch(20 * mib, MAP_PRIVATE | MAP_ANONYMOUS);
    const Child grandchild([] {
      touch(40 * mib, MAP_PRIVATE | MAP_ANONYMOUS);
      touch(30 * mib, MAP_SHARED | MAP_ANONYMOUS);
    });
  });
  const auto bytes = tree_.memory();
  ASSERT_TRUE(bytes.has_value());
  EXPECT_EQ(tree_.size(), 2U);
  const std::size_t idle = 2 * ours();
  // The grandchild's copy of the child's pages counts again, as it does for the kernel's own figure of each
  // process.
  EXPECT_GE(*bytes, 90 * mib);
  EXPECT_LE(*bytes, idle + 140 * mib);
}

TEST_F(Tree, FilePagesDoNotCount) {
  const Child child([] {
    FILE* file = std::tmpfile();
    const std::vector<char> block(mib, 'x');
    for (int i = 0; i < 64; ++i) std::fwrite(block.data(), 1, block.size(), file);
    std::fflush(file);
    const char* at =
        static_cast<const char*>(::mmap(nullptr, 64 * mib, PROT_READ, MAP_PRIVATE, ::fileno(file), 0));
    int sum = 0;
    for (std::size_t i = 0; i < 64 * mib; i += 4096) sum += at[i];
    if (sum == 0) ::_exit(3);
  });
  EXPECT_LT(tree_.memory().value_or(1000 * mib), ours() + 40 * mib);
}

TEST_F(Tree, AStoppedProcessIsMeasuredAndKilled) {
  const Child child([] { touch(50 * mib, MAP_PRIVATE | MAP_ANONYMOUS); });
  ASSERT_EQ(::kill(child.pid(), SIGSTOP), 0);
  EXPECT_GE(tree_.memory().value_or(0), 50 * mib);
  EXPECT_EQ(tree_.kill_all(10, reap, nullptr), 0U);
}

TEST_F(Tree, DoubleForksWithTheirOwnSessionDoNotEscape) {
  for (int round = 0; round < 20; ++round) {
    const Child child([] {
      const Child middle([] {
        ::setsid();
        const Child daemon([] { ::setsid(); });
        (void)daemon;
      });
      ::kill(middle.pid(), SIGKILL);
      ::waitpid(middle.pid(), nullptr, 0);
    });
    ASSERT_TRUE(tree_.refresh());
    EXPECT_EQ(tree_.size(), 2U) << "child and orphaned daemon";
    EXPECT_EQ(tree_.kill_all(10, reap, nullptr), 0U);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "somebody is left";
  }
}

TEST_F(Tree, AForkingTreeIsKilledToTheLast) {
  for (int round = 0; round < 10; ++round) {
    const Child child([] {
      if (::fork() == 0) {
        for (int i = 0; i < 100; ++i) {
          const pid_t pid = ::fork();
          if (pid < 0) break;
          if (pid > 0) ::_exit(0);  // the chain moves on: always another pid
        }
        for (;;) ::pause();
      }
      for (int i = 0; i < 30; ++i) {
        if (::fork() == 0) {
          for (;;) ::pause();
        }
      }
    });
    EXPECT_EQ(tree_.kill_all(10, reap, nullptr), 0U);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  }
}

TEST_F(Tree, AZombieMainThreadWithALiveThreadStillCounts) {
  const Child child(
      [] {
        int ready[2];
        if (::pipe(ready) != 0) ::_exit(1);
        pthread_t thread;
        ::pthread_create(
            &thread, nullptr,
            [](void* fd) -> void* {
              touch(50 * mib, MAP_PRIVATE | MAP_ANONYMOUS);
              if (::write(*static_cast<int*>(fd), "x", 1) != 1) ::_exit(1);
              for (;;) ::pause();
            },
            &ready[1]);
        char byte = 0;
        if (::read(ready[0], &byte, 1) != 1) ::_exit(1);
      },
      true);
  std::optional<ProcStat> stat;
  for (int i = 0; i < 2000 && !(stat && stat->state == 'Z'); ++i) {
    stat = read_stat(child.pid());
    ::poll(nullptr, 0, 5);
  }
  ASSERT_TRUE(stat.has_value());
  ASSERT_EQ(stat->state, 'Z');
  EXPECT_GE(tree_.memory().value_or(0), 50 * mib);
  EXPECT_EQ(tree_.size(), 1U);
}

TEST_F(Tree, ATableThatIsTooSmallIsUnknown) {
  ProcessTree small(::getpid(), 2);
  EXPECT_FALSE(small.memory().has_value());
}

TEST_F(Tree, TheGuardKillsOverItsLimitAndSaysSo) {
  Limits limits;
  limits.limit_bytes = 64 * mib;
  limits.poll_secs = 0.05;
  Guard guard(limits, tree_);
  EXPECT_TRUE(guard.watches());
  const Child small([] {});
  EXPECT_TRUE(guard.tick());
  EXPECT_EQ(guard.decision().verdict, Verdict::ok);
  const Child hog([] { touch(100 * mib, MAP_PRIVATE | MAP_ANONYMOUS); });
  while (!guard.tick() || guard.decision().verdict != Verdict::kill) ::poll(nullptr, 0, 1);
  EXPECT_NE(guard.kill_line().find("limit=64 MiB rule=tree_limit; killing 2 processes"), std::string::npos)
      << guard.kill_line();
  EXPECT_EQ(tree_.kill_all(10, reap, nullptr), 0U);
  EXPECT_NE(guard.last_line().find("[guard] peak tree=1"), std::string::npos) << guard.last_line();
}

// A killed process that is held at the door: it has all its memory and gives none of it back by itself.
class Dying {
 public:
  explicit Dying(std::size_t bytes) : child_([bytes] { touch(bytes, MAP_PRIVATE | MAP_ANONYMOUS); }) {
    traced_ = ::ptrace(PTRACE_SEIZE, pid(), nullptr, PTRACE_O_TRACEEXIT) == 0;
    start_ticks = read_stat(pid()).value_or(ProcStat{}).start_ticks;
  }
  ~Dying() {
    ::ptrace(PTRACE_DETACH, pid(), nullptr, 0);
    ::kill(pid(), SIGKILL);
    ::waitpid(pid(), nullptr, 0);
  }
  bool kill() const {
    int status = 0;
    return traced_ && ::kill(pid(), SIGKILL) == 0 && ::waitpid(pid(), &status, __WALL) == pid() &&
           WIFSTOPPED(status);
  }
  pid_t pid() const { return child_.pid(); }
  std::uint64_t bytes() const { return read_process_memory(pid()).bytes; }
  std::uint64_t start_ticks = 0;

 private:
  Child child_;
  bool traced_ = false;
};

// Whether this kernel has process_mrelease and we may call it: for a process that was not killed it says so.
bool kernel_releases() {
  const int fd = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  const bool known = ::syscall(448, fd, 0) != 0 && errno == EINVAL;
  ::close(fd);
  return known;
}

TEST_F(Tree, MemoryOfAKilledProcessComesBackBeforeItHasEnded) {
  if (!kernel_releases()) GTEST_SKIP() << "this kernel has no process_mrelease";
  const Dying one(64 * mib), other(64 * mib);
  EXPECT_FALSE(release_memory(one.pid(), one.start_ticks)) << "it was not killed";
  EXPECT_GE(one.bytes(), 64 * mib);
  if (!one.kill() || !other.kill()) GTEST_SKIP() << "processes may not be traced here";
  ASSERT_GE(one.bytes(), 64 * mib);
  EXPECT_FALSE(release_memory(one.pid(), one.start_ticks + 1)) << "the number now stands for another process";
  EXPECT_TRUE(release_memory(one.pid(), one.start_ticks));
  EXPECT_LT(one.bytes(), 8 * mib);

  const Group group;
  Keeper keeper(group);
  ASSERT_GT(keeper.pid(), 0);
  const std::array<GuardProcess, 2> killed = {{{4'000'000, 1}, {other.pid(), other.start_ticks}}};
  ASSERT_GE(other.bytes(), 64 * mib);
  keeper.release(killed);
  for (int i = 0; i < 1000 && other.bytes() >= 8 * mib; ++i) ::poll(nullptr, 0, 5);
  EXPECT_LT(other.bytes(), 8 * mib);
}

TEST_F(Tree, WhoHasMuchMemoryIsHastened) {
  const Child large([] { touch(40 * mib, MAP_PRIVATE | MAP_ANONYMOUS); });
  const Child small([] { touch(4 * mib, MAP_PRIVATE | MAP_ANONYMOUS); });
  const int before = ::getpriority(PRIO_PROCESS, 0);
  ASSERT_TRUE(tree_.memory().has_value());
  tree_.hasten();
  const int now = ::getpriority(PRIO_PROCESS, static_cast<id_t>(large.pid()));
  EXPECT_EQ(::getpriority(PRIO_PROCESS, static_cast<id_t>(small.pid())), before);
  if (now == before) GTEST_SKIP() << "priorities may not be raised here";
  EXPECT_EQ(now, -20);
}

TEST(Guard, WithoutLimitsNothingIsWatchedAndNothingIsKnown) {
  ProcessTree tree(::getpid());
  const Guard guard({}, tree);
  EXPECT_FALSE(guard.watches());
  EXPECT_EQ(guard.last_line(), "[guard] peak tree=unknown total=unknown lowest_available=unknown at=unknown");
}

}  // namespace
}  // namespace tetrad::guard
