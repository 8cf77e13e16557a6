#include "guard/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace tetrad::guard {

namespace {

// Bytes read, or -errno. The files are small; what does not fit is cut and the parser finds the field
// missing.
ssize_t read_file(const char* path, char* buffer, std::size_t size) noexcept {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  std::size_t used = 0;
  ssize_t result = 0;
  while (used < size) {
    const ssize_t got = ::read(fd, buffer + used, size - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) result = -errno;
    if (got <= 0) break;
    used += static_cast<std::size_t>(got);
  }
  ::close(fd);
  return result < 0 ? result : static_cast<ssize_t>(used);
}

template <class T>
bool to_number(std::string_view text, T& value) noexcept {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && stop == text.data() + text.size();
}

// "RssAnon:\t     148 kB" -> 148 * 1024
std::optional<std::uint64_t> kib_field(std::string_view text, std::string_view name) noexcept {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.size() <= name.size() || line.substr(0, name.size()) != name || line[name.size()] != ':')
      continue;
    line.remove_prefix(name.size() + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    if (line.size() < 3 || line.substr(line.size() - 3) != " kB") return std::nullopt;
    line.remove_suffix(3);
    std::uint64_t kib = 0;
    if (!to_number(line, kib) || kib > (UINT64_MAX >> 10)) return std::nullopt;
    return kib << 10;
  }
  return std::nullopt;
}

ProcessMemory read_status(const char* path) noexcept {
  char buffer[8192];
  const ssize_t got = read_file(path, buffer, sizeof buffer);
  if (got == -ENOENT || got == -ESRCH) return {Reading::gone, 0};
  if (got < 0) return {Reading::unknown, 0};
  return parse_status({buffer, static_cast<std::size_t>(got)});
}

struct ThreadSearch {
  pid_t pid;
  ProcessMemory memory;
};

void try_thread(void* context, pid_t thread) {
  auto& search = *static_cast<ThreadSearch*>(context);
  if (search.memory.reading == Reading::value || thread == search.pid) return;
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task/%d/status", search.pid, thread);
  search.memory = read_status(path);
}

struct ChildSearch {
  pid_t pid;
  void (*visit)(void*, pid_t);
  void* context;
  bool listed;
};

void list_children(void* context, pid_t thread) {
  auto& search = *static_cast<ChildSearch*>(context);
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task/%d/children", search.pid, thread);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  search.listed = true;
  char buffer[4096];
  pid_t pid = 0;
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    for (ssize_t i = 0; i < got; ++i) {  // numbers, each followed by a space; one may span two reads
      if (buffer[i] >= '0' && buffer[i] <= '9') {
        pid = pid * 10 + (buffer[i] - '0');
      } else if (pid > 0) {
        search.visit(search.context, pid);
        pid = 0;
      }
    }
  }
  ::close(fd);
}

}  // namespace

bool for_each_child(pid_t pid, void (*visit)(void*, pid_t), void* context) noexcept {
  ChildSearch search{pid, visit, context, false};
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/task", pid);
  for_each_pid(path, list_children, &search);
  return search.listed;
}

void read_name(pid_t pid, char (&name)[16]) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/comm", pid);
  const ssize_t got = read_file(path, name, sizeof name - 1);
  const ssize_t length = got > 0 && name[got - 1] == '\n' ? got - 1 : got;
  if (length <= 0) {
    std::memcpy(name, "?", 2);
    return;
  }
  name[length] = '\0';
}

MemInfo parse_meminfo(std::string_view text) noexcept {
  return {kib_field(text, "MemTotal"), kib_field(text, "MemAvailable")};
}

MemInfo read_meminfo() noexcept {
  char buffer[8192];
  const ssize_t got = read_file("/proc/meminfo", buffer, sizeof buffer);
  if (got <= 0) return {};
  return parse_meminfo({buffer, static_cast<std::size_t>(got)});
}

std::optional<ProcStat> parse_stat(std::string_view text) noexcept {
  const std::size_t open = text.find(" (");
  const std::size_t close = text.rfind(')');  // the name may contain anything, the rest is numbers
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return std::nullopt;
  ProcStat stat;
  if (!to_number(text.substr(0, open), stat.pid)) return std::nullopt;
  std::string_view rest = text.substr(close + 1);
  constexpr int state_field = 3;
  constexpr int parent_field = 4;
  constexpr int threads_field = 20;
  constexpr int start_field = 22;
  for (int field = state_field; field <= start_field; ++field) {
    if (rest.empty() || rest.front() != ' ') return std::nullopt;
    rest.remove_prefix(1);
    const std::size_t end = std::min(rest.find_first_of(" \n"), rest.size());
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(end);
    bool good = !word.empty();
    if (field == state_field && good) stat.state = word.front();
    if (field == parent_field) good = to_number(word, stat.parent);
    if (field == threads_field) good = to_number(word, stat.threads);
    if (field == start_field) good = to_number(word, stat.start_ticks);
    if (!good) return std::nullopt;
  }
  return stat;
}

std::optional<ProcStat> read_stat(pid_t pid) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/stat", pid);
  char buffer[2048];
  const ssize_t got = read_file(path, buffer, sizeof buffer);
  if (got <= 0) return std::nullopt;
  return parse_stat({buffer, static_cast<std::size_t>(got)});
}

ProcessMemory parse_status(std::string_view text) noexcept {
  const auto anonymous = kib_field(text, "RssAnon");
  const auto shared = kib_field(text, "RssShmem");
  if (anonymous && shared) return {Reading::value, *anonymous + *shared};
  // A process that gave up its memory on the way out has a status without any Vm or Rss line.
  const bool no_memory = text.find("\nState:") != std::string_view::npos &&
                         text.find("\nVm") == std::string_view::npos &&
                         text.find("\nRss") == std::string_view::npos;
  return {no_memory ? Reading::gone : Reading::unknown, 0};
}

ProcessMemory read_process_memory(pid_t pid) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/status", pid);
  const ProcessMemory memory = read_status(path);
  if (memory.reading != Reading::gone) return memory;
  const auto stat = read_stat(pid);
  if (!stat || stat->threads <= 1) return memory;
  ThreadSearch search{pid, memory};
  std::snprintf(path, sizeof path, "/proc/%d/task", pid);
  for_each_pid(path, try_thread, &search);
  return search.memory;
}

bool for_each_pid(const char* directory, void (*visit)(void*, pid_t), void* context) noexcept {
  const int fd = ::open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  struct Entry {  // struct linux_dirent64 of the kernel's interface
    std::uint64_t inode;
    std::int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[1];
  };
  alignas(Entry) char buffer[16384];
  for (;;) {
    const long got = ::syscall(SYS_getdents64, fd, buffer, sizeof buffer);
    if (got <= 0) {
      ::close(fd);
      return got == 0;
    }
    for (long at = 0; at < got;) {
      unsigned short length = 0;
      std::memcpy(&length, buffer + at + offsetof(Entry, length), sizeof length);
      const char* name = buffer + at + offsetof(Entry, name);
      pid_t pid = 0;
      if (to_number(std::string_view(name), pid) && pid > 0) visit(context, pid);
      at += length;
    }
  }
}

}  // namespace tetrad::guard
