// The log of a guarded run, kept on request: one JSON object a line (log_lines.h). A disk may be slow, full
// or gone, so the file is written by a process of its own behind a pipe: whoever adds a line never waits; a
// line that finds the pipe full is dropped and counted. The writer takes what is in the pipe to the file even
// when the guard has been killed. FILE holds the newest lines; once it has half of the allowed bytes it
// becomes FILE.1, and what was there goes, so that both together stay within the bound.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace tetrad::guard {

class SampleLog {
 public:
  static constexpr std::size_t longest_line = 4096;  // a pipe takes that much whole or not at all

  // Makes `file` anew and starts its writer; call it while this process has one thread. Throws
  // Error(runtime) when the file cannot be made.
  SampleLog(const std::string& file, std::uint64_t most_bytes);
  ~SampleLog();  // closes the pipe and waits half a second at most for the writer
  SampleLog(const SampleLog&) = delete;
  SampleLog& operator=(const SampleLog&) = delete;

  pid_t pid() const noexcept { return pid_; }  // of the writer; -1 once it has been collected
  // The supervisor collected the writer. True: every line that the pipe took is in the file.
  bool ended(int status) noexcept;

  // `line` without its newline.
  void add(std::string_view line) noexcept;
  std::uint64_t dropped() const noexcept { return dropped_; }

 private:
  int pipe_ = -1;
  pid_t pid_ = -1;
  std::uint64_t dropped_ = 0;
};

}  // namespace tetrad::guard
