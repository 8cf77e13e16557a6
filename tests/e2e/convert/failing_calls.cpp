// Preloaded into `host convert` by a test: counts the calls that write to the file system and lets the one
// with the number FAIL_AT fail (FAIL_HOW=full: ENOSPC) or be the last one (FAIL_HOW=kill: SIGKILL before it
// happens). At the end the count goes to the file FAIL_COUNT.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

std::atomic<int> calls{0};

template <class Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

bool fails() {
  static const char* const at = std::getenv("FAIL_AT");
  static const char* const how = std::getenv("FAIL_HOW");
  if (++calls != (at == nullptr ? 0 : std::atoi(at))) return false;
  if (how != nullptr && std::strcmp(how, "kill") == 0) ::kill(::getpid(), SIGKILL);
  errno = ENOSPC;
  return true;
}

struct Report {
  ~Report() {
    const char* file = std::getenv("FAIL_COUNT");
    if (file == nullptr) return;
    if (std::FILE* out = std::fopen(file, "w")) {
      std::fprintf(out, "%d", calls.load());
      std::fclose(out);
    }
  }
} report;

}  // namespace

extern "C" {

ssize_t pwrite(int fd, const void* data, size_t bytes, off_t at) {
  if (fails()) return -1;
  return next<decltype(&pwrite)>("pwrite")(fd, data, bytes, at);
}

ssize_t pwrite64(int fd, const void* data, size_t bytes, off64_t at) {
  if (fails()) return -1;
  return next<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64")(fd, data, bytes, at);
}

ssize_t write(int fd, const void* data, size_t bytes) {
  if (fd > STDERR_FILENO && fails()) return -1;
  return next<decltype(&write)>("write")(fd, data, bytes);
}

int fsync(int fd) {
  if (fails()) return -1;
  return next<decltype(&fsync)>("fsync")(fd);
}

int rename(const char* from, const char* to) {
  if (fails()) return -1;
  return next<decltype(&rename)>("rename")(from, to);
}

int mkdir(const char* path, mode_t mode) {
  if (fails()) return -1;
  return next<decltype(&mkdir)>("mkdir")(path, mode);
}

int ftruncate(int fd, off_t bytes) {
  if (fails()) return -1;
  return next<decltype(&ftruncate)>("ftruncate")(fd, bytes);
}

int ftruncate64(int fd, off64_t bytes) {
  if (fails()) return -1;
  return next<int (*)(int, off64_t)>("ftruncate64")(fd, bytes);
}

int posix_fallocate(int fd, off_t at, off_t bytes) {
  if (fails()) return ENOSPC;
  return next<decltype(&posix_fallocate)>("posix_fallocate")(fd, at, bytes);
}

int fallocate(int fd, int mode, off_t at, off_t bytes) {
  if (fails()) return -1;
  return next<decltype(&fallocate)>("fallocate")(fd, mode, at, bytes);
}

// Only calls that make a file count.
int open(const char* path, int flags, ...) {
  std::va_list list;
  va_start(list, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
  va_end(list);
  if ((flags & O_CREAT) != 0 && fails()) return -1;
  return next<int (*)(const char*, int, ...)>("open")(path, flags, mode);
}
}
