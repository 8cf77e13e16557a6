// Readers of /proc that the guard runs while memory is short: fixed buffers on the stack, no allocation,
// every field checked. A value that cannot be read is std::nullopt. Parsers take text, so that tests feed
// them kernels' variants.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tetrad::guard {

struct MemInfo {
  std::optional<std::uint64_t> total_bytes;
  std::optional<std::uint64_t> available_bytes;
};

// The text of /proc/meminfo; sizes there are in KiB ("kB").
MemInfo parse_meminfo(std::string_view text) noexcept;
MemInfo read_meminfo() noexcept;

struct ProcStat {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';
  long threads = 0;
  std::uint64_t start_ticks = 0;  // since boot; pid + start_ticks names a process for good
};

// The text of /proc/<pid>/stat. The command name in it may hold spaces, brackets and newlines.
std::optional<ProcStat> parse_stat(std::string_view text) noexcept;
std::optional<ProcStat> read_stat(pid_t pid) noexcept;

// gone: the process ended, or has given up its memory already. unknown: it has memory, but the kernel does
// not say how much of it is anonymous or shared.
enum class Reading { value, gone, unknown };
struct ProcessMemory {
  Reading reading = Reading::unknown;
  std::uint64_t bytes = 0;
};

// RssAnon + RssShmem out of the text of /proc/<pid>/status.
ProcessMemory parse_status(std::string_view text) noexcept;

// The same for a live process. One whose main thread has ended while others run is read through one of those.
ProcessMemory read_process_memory(pid_t pid) noexcept;

// Calls visit(context, child) for every child of `pid`, of all its threads. False where this kernel has no
// such list. A child may be missing while one of its siblings ends at this moment.
bool for_each_child(pid_t pid, void (*visit)(void* context, pid_t child), void* context) noexcept;

// The command name of a process, at most 15 bytes, terminated; "?" when it cannot be read.
void read_name(pid_t pid, char (&name)[16]) noexcept;

// Calls visit(context, pid) for every numeric entry of `directory` ("/proc", "/proc/7/task"). False when the
// directory cannot be read.
bool for_each_pid(const char* directory, void (*visit)(void* context, pid_t pid), void* context) noexcept;

}  // namespace tetrad::guard
