// What a program may leave behind on the terminal, saved before it runs and put back after it: line settings
// (echo, canonical mode), the O_NONBLOCK flag of the standard streams, and, after a violent end, colours,
// the cursor and bracketed paste. Does nothing where no standard stream is a terminal, or where we are not
// its foreground job.
#pragma once

#include <termios.h>

#include <array>
#include <string_view>

namespace tetrad::cli {

class TerminalState {
 public:
  TerminalState();  // saves

  enum class After { orderly, violent, stopped };  // stopped: it goes on later
  void restore(After after) const noexcept;

 private:
  int fd_ = -1;  // the terminal; -1: none
  termios settings_{};
  std::array<int, 3> flags_{};  // of fds 0 to 2
};

// Writes one line to stderr if that is possible without waiting: a terminal stopped with Ctrl-S or a full
// pipe must not hold up whoever watches a process. Adds the newline.
void note(std::string_view line) noexcept;

}  // namespace tetrad::cli
