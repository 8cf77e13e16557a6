// The chat loop and the line editor with a conversation that has no model: says in hex what reached it, so
// that a test at a terminal can tell characters apart. "slow" takes its time; a Ctrl-C is a byte on the given
// descriptor.
#include "cli/chat/chat_loop.h"
#include "cli/chat/line_editor.h"
#include "cli/chat/plain_lines.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <vector>

using namespace tetrad::cli;

namespace {

int wake_fd = -1;

void wake(int) {
  const std::uint64_t one = 1;
  const ssize_t written = ::write(wake_fd, &one, sizeof one);
  static_cast<void>(written);
}

class Probe : public Conversation {
 public:
  int turn(const std::string& user) override {
    if (user == "fail") throw tetrad::Error(tetrad::ExitCode::usage, "[context] too long");
    if (user == "break") throw tetrad::Error("[device] gone");
    if (user == "collapse") return 4;
    turns_.push_back(user);
    std::printf("turn %zu:", turns_.size());
    for (const char c : user) std::printf(" %02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    std::printf(".\n");
    std::fflush(stdout);
    return 0;
  }
  std::optional<std::string> undo() override {
    if (turns_.empty()) return std::nullopt;
    std::string last = turns_.back();
    turns_.pop_back();
    return last;
  }
  void reset() override { turns_.clear(); }
  std::string stats() override { return "[stats] turns=" + std::to_string(turns_.size()) + "\n"; }
  std::int64_t clear_cache() override { return 3 << 20; }
  std::optional<std::string> system() const override { return system_; }
  void set_system(const std::string& text) override {
    reset();
    system_ = text;
  }
  std::string save(const std::string& file) override { return "[chat] saved " + file; }
  std::string load(const std::string& file) override {
    throw tetrad::Error(tetrad::ExitCode::usage, "[load] " + file + ": identity.weights");
  }

 private:
  std::vector<std::string> turns_;
  std::optional<std::string> system_;
};

}  // namespace

int main() {
  wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ::signal(SIGINT, wake);
  std::unique_ptr<LineSource> lines;
  if (LineEditor::usable()) {
    EditorOptions options;
    options.history_file = default_history_file();
    options.wake_fd = wake_fd;
    options.on_activity = [] {
      if (const char* log = std::getenv("PROBE_ACTIVITY")) std::ofstream(log, std::ios::app) << 'a';
    };
    lines = std::make_unique<LineEditor>(options);
  } else {
    lines = std::make_unique<PlainLines>(::isatty(STDIN_FILENO) == 1, "> ");
  }
  Probe probe;
  try {
    return run_chat_loop(*lines, probe);
  } catch (const tetrad::Error& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return static_cast<int>(e.code());
  }
}
