// Takes memory the way a test wants it, and says nothing. With RAMP_PROGRESS=FILE it keeps there how many
// steps of 2 MiB it has taken (int64) and when each was taken (CLOCK_MONOTONIC ns, int64 each), which
// survives its end. Arguments: WHAT [numbers]
//
//   anon MIB RATE       fresh pages at RATE MiB a second (0: as fast as it goes), then sleeps
//   map MIB RATE        pages that exist already are mapped piece by piece: rates that fresh pages do not
//                       reach. Of RAMP_PAGES=FILE (in memory, as large), or of a memfd filled beforehand
//   leap MIB FROM       like map: FROM MiB, a pause of 20 ms, then the rest as fast as it goes
//   stubborn MIB RATE   like anon, but ignores SIGTERM
//   sharers MIB N       N children share one region, each touches all of it
//   forked MIB N        takes MIB and forks N children that sleep (copy on write)
//   bomb N              forks until N processes live, each with 128 KiB of its own; all sleep
//   daemons N MIB       N daemons (double fork, setsid) that sleep; the last takes MIB
//   stop MIB            like anon, but stops itself (SIGSTOP) once it has MIB
//   zombie MIB          the main thread ends, another one takes MIB
//   soft MIB            takes MIB and ends with exit code 7 on SIGTERM
//   files MIB           reads a file of that size again and again through a mapping (page cache only)
//
// RAMP_LINGER_MS=N: ends with exit code 0 that long after the last step, instead of sleeping for ever.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void sleep_until(std::int64_t at) {
  const timespec wait{at / 1'000'000'000, at % 1'000'000'000};
  ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wait, nullptr);
}

[[noreturn]] void sleep_forever() {
  for (;;) ::pause();
}

// The file of RAMP_PROGRESS as [count, time of step 0, time of step 1, ...]; null without one.
std::int64_t* progress() {
  constexpr std::size_t size = 8192 * sizeof(std::int64_t);
  const char* name = std::getenv("RAMP_PROGRESS");
  const int fd = name == nullptr ? -1 : ::open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || ::ftruncate(fd, size) != 0) return nullptr;
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::int64_t*>(at);
}

// Calls take(offset, bytes) so that RATE MiB a second are taken in steps of 2 MiB.
template <class F>
void pace(std::size_t bytes, double rate, F&& take) {
  constexpr std::size_t step = 2 * mib;
  std::int64_t* const note = progress();
  const std::int64_t start = now_ns();
  for (std::size_t at = 0; at < bytes; at += step) {
    take(at, step);
    if (note != nullptr) {
      note[1 + note[0]] = now_ns();
      ++note[0];
    }
    if (rate > 0)
      sleep_until(start + static_cast<std::int64_t>(static_cast<double>(at + step) / mib / rate * 1e9));
  }
}

void anon(std::size_t bytes, double rate) {
  auto* at =
      static_cast<char*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (at == MAP_FAILED) ::_exit(9);
  pace(bytes, rate, [&](std::size_t from, std::size_t count) { std::memset(at + from, 1, count); });
}

// A file in memory whose first `bytes` exist.
int pages(std::size_t bytes) {
  if (const char* name = std::getenv("RAMP_PAGES")) {
    const int fd = ::open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ::lseek(fd, 0, SEEK_END) < static_cast<off_t>(bytes)) ::_exit(9);
    return fd;
  }
  const int fd = ::memfd_create("ramp", 0);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) ::_exit(9);
  static char block[2 * mib];
  std::memset(block, 1, sizeof block);
  for (std::size_t at = 0; at < bytes; at += sizeof block) {
    if (::write(fd, block, sizeof block) != sizeof block) ::_exit(9);
  }
  return fd;
}

void map(std::size_t bytes, double rate, std::size_t pause_at) {
  const int fd = pages(bytes);
  pace(bytes, rate, [&](std::size_t from, std::size_t count) {
    if (pause_at > 0 && from == pause_at) ::usleep(20'000);
    if (::mmap(nullptr, count, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, static_cast<off_t>(from)) ==
        MAP_FAILED)
      ::_exit(9);
  });
}

void sharers(std::size_t bytes, long count) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (long i = 0; i < count; ++i) {
    if (::fork() == 0) {
      std::memset(at, 1, bytes);
      sleep_forever();
    }
  }
}

// Each process holds pages of its own: what forks share counts once, and 150 of them share nearly all.
void bomb(long most) {
  constexpr std::size_t own_bytes = 128 << 10;
  auto* alive = static_cast<long*>(
      ::mmap(nullptr, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  *alive = 1;
  for (;;) {
    if (__atomic_add_fetch(alive, 1, __ATOMIC_SEQ_CST) > most) {
      __atomic_sub_fetch(alive, 1, __ATOMIC_SEQ_CST);
      sleep_forever();
    }
    const pid_t child = ::fork();
    if (child < 0) __atomic_sub_fetch(alive, 1, __ATOMIC_SEQ_CST);
    if (child != 0) continue;
    void* const own = ::mmap(nullptr, own_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own != MAP_FAILED) std::memset(own, 1, own_bytes);
  }
}

void daemons(long count, std::size_t bytes) {
  for (long i = 0; i < count; ++i) {
    if (::fork() != 0) continue;
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    ::setsid();
    if (i == count - 1 && bytes > 0) anon(bytes, 0);
    sleep_forever();
  }
}

void files(std::size_t bytes) {
  FILE* file = std::tmpfile();
  static char block[mib];
  std::memset(block, 1, sizeof block);
  for (std::size_t at = 0; at < bytes; at += sizeof block) std::fwrite(block, 1, sizeof block, file);
  std::fflush(file);
  const auto* at =
      static_cast<const volatile char*>(::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, ::fileno(file), 0));
  long sum = 0;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < bytes; i += 4096) sum += at[i];
  }
  std::exit(sum > 0 ? 0 : 9);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const double first = argc > 2 ? std::atof(argv[2]) : 0;
  const double second = argc > 3 ? std::atof(argv[3]) : 0;
  const auto bytes = static_cast<std::size_t>(first) * mib;
  if (what == "anon") {
    anon(bytes, second);
  } else if (what == "map") {
    map(bytes, second, 0);
  } else if (what == "leap") {
    map(bytes, 0, static_cast<std::size_t>(second) * mib);
  } else if (what == "sharers") {
    sharers(bytes, static_cast<long>(second));
  } else if (what == "forked") {
    anon(bytes, 0);
    for (long i = 0; i < static_cast<long>(second); ++i) {
      if (::fork() == 0) sleep_forever();
    }
  } else if (what == "bomb") {
    bomb(static_cast<long>(first));
  } else if (what == "daemons") {
    daemons(static_cast<long>(first), static_cast<std::size_t>(second) * mib);
  } else if (what == "stop") {
    anon(bytes, 200);
    ::raise(SIGSTOP);
  } else if (what == "zombie") {
    static std::size_t wanted = bytes;
    pthread_t thread;
    ::pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          ::usleep(100'000);
          anon(wanted, 400);
          sleep_forever();
        },
        nullptr);
    ::syscall(SYS_exit, 0);
  } else if (what == "soft") {
    ::signal(SIGTERM, [](int) { ::_exit(7); });
    anon(bytes, 500);
  } else if (what == "stubborn") {
    ::signal(SIGTERM, SIG_IGN);
    anon(bytes, second);
  } else if (what == "files") {
    files(bytes);
  } else {
    return 2;
  }
  if (const char* linger = std::getenv("RAMP_LINGER_MS")) {
    ::usleep(static_cast<useconds_t>(1000 * std::atoi(linger)));
    return 0;
  }
  sleep_forever();
}
