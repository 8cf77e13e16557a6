// Host memory of a process as Tetrad reports it: anonymous plus shared pages. File-backed pages (mapped
// weights, program text) are listed apart, because the kernel can take them back. Contract: figures in bytes,
// from /proc/PID/status; a figure that the kernel does not give makes the whole answer empty, never 0.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tetrad::io {

struct HostMemory {
  std::uint64_t rss_anon = 0;
  std::uint64_t rss_shmem = 0;
  std::uint64_t rss_file = 0;
  std::uint64_t swap = 0;
  std::uint64_t peak_rss = 0;  // highest resident size so far, file-backed pages included (VmHWM)

  // What counts against a limit.
  std::uint64_t host() const noexcept { return rss_anon + rss_shmem; }
};

// Of one process; 0 means this one. Empty when the process is gone or the kernel does not tell.
std::optional<HostMemory> host_memory(pid_t pid = 0);

// The same from the text of a status file, for tests.
std::optional<HostMemory> parse_host_memory(std::string_view status);

struct SystemMemory {
  std::uint64_t total = 0;
  std::uint64_t available = 0;  // what new programs can have without swapping (MemAvailable)
};

std::optional<SystemMemory> system_memory();

// For people: "12.3 GiB", "0.251 GiB"; three significant digits, never more than three decimals.
std::string format_gib(std::uint64_t bytes);

}  // namespace tetrad::io
