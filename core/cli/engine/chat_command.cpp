// `chat`: a script of turns when the config has a prompt, otherwise turns from standard input until its end.
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/process_clock.h"
#include "cli/engine/session.h"
#include "text/utf8.h"

#include <tetrad/base/error.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>

namespace tetrad::cli {
namespace {

// A whole line of standard input without its newline; nothing at the end.
std::optional<std::string> read_line() {
  std::string line;
  int c = 0;
  while ((c = std::getchar()) != EOF && c != '\n') line.push_back(static_cast<char>(c));
  if (c == EOF && line.empty()) return std::nullopt;
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return line;
}

class Chat {
 public:
  explicit Chat(Control& control) : session_(control, memory_), chat_(session_.new_chat()) {}

  int run() {
    const nlohmann::json& options = session_.config().at("chat");
    const bool scripted = options.at("prompt").is_string();
    const int code = scripted ? run_script(options) : run_stdin();
    write_record(session_, {{"ttft_s", first_token_seconds_}});
    return code;
  }

 private:
  int run_script(const nlohmann::json& options) {
    const auto turns = options.at("turns").get<std::int64_t>();
    for (std::int64_t turn = 1; turn <= turns; ++turn) {
      const auto prompt = options.at(turn == 1 ? "prompt" : "followup_prompt").get<std::string>();
      std::fprintf(stderr, "> %s\n", prompt.c_str());
      if (const int code = one_turn(prompt); code != 0) return code;
    }
    return 0;
  }

  int run_stdin() {
    const bool terminal = isatty(STDIN_FILENO) == 1;
    while (true) {
      if (terminal) std::fprintf(stderr, "> ");
      const std::optional<std::string> line = read_line();
      if (!line) return 0;
      if (line->empty()) continue;
      try {
        if (const int code = one_turn(*line); code != 0) return code;
      } catch (const Error& error) {
        // A prompt that does not fit or is not text costs its turn, not the conversation, when a person can
        // type another.
        if (!terminal || error.code() != ExitCode::usage) throw;
        std::fprintf(stderr, "error: %s\n", error.what());
      }
    }
  }

  int one_turn(const std::string& prompt) {
    text::require_utf8(prompt, "the prompt");
    std::atomic<bool>& interrupt = session_.control().interrupt();
    interrupt.store(false);
    const auto on_text = [this](std::string_view piece) {
      if (first_token_seconds_ == 0.0) first_token_seconds_ = seconds_since_host_start();
      print(piece);
    };
    const generate::TurnResult result = chat_.turn(prompt, on_text, interrupt);
    print("\n");
    if (result.withheld_bytes > 0) {
      std::fprintf(stderr,
                   "[text] the last character was cut in half by the end of the output; %zu bytes withheld\n",
                   result.withheld_bytes);
    }
    std::fprintf(stderr, "%s\n", kvc_line(chat_.turns(), result, session_.context()).c_str());
    record_turn(session_, prompt, turn_record(result, session_.context()));
    session_.control().phase("turn", memory_.sample());
    return report_collapse(result);
  }

  MemoryWatch memory_;
  Session session_;
  generate::ChatSession chat_;
  double first_token_seconds_ = 0.0;
};

}  // namespace

int run_chat(Control& control) {
  return Chat(control).run();
}

}  // namespace tetrad::cli
