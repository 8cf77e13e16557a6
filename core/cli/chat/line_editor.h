// Turns typed at a terminal: line editing and history by libedit, with Chinese and other wide characters,
// pastes of several lines (bracketed paste) and Alt-Enter for a new line. Text is UTF-8 whatever LANG says.
// The editor shows itself on stderr, so that stdout stays the answers' own. The terminal is in raw mode only
// inside next(); Ctrl-C stays a signal, which the launcher turns into a message.
#pragma once

#include "cli/chat/line_source.h"

#include <functional>
#include <memory>
#include <string>

namespace tetrad::cli {

struct EditorOptions {
  std::string prompt = "> ";
  std::string history_file;  // kept between sessions, for its owner alone; "": not kept
  int wake_fd = -1;          // an eventfd that becomes readable on Ctrl-C: next() gives the line up
  // Called when the person goes on: at the start of a line, and at the first key after a Ctrl-C.
  std::function<void()> on_activity;
};

// $TETRAD_HISTORY where it is set (empty: none), else tetrad/history below $XDG_STATE_HOME or ~/.local/state.
std::string default_history_file();

class LineEditor : public LineSource {
 public:
  // Whether stdin and stderr are a terminal that can be edited on.
  static bool usable() noexcept;

  explicit LineEditor(EditorOptions options);
  ~LineEditor() override;

  Line next() override;
  bool person() const noexcept override { return true; }

 private:
  class Terminal;
  std::unique_ptr<Terminal> terminal_;
};

}  // namespace tetrad::cli
