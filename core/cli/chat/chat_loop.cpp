#include "cli/chat/chat_loop.h"

#include "cli/chat/slash_command.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cstdio>

namespace tetrad::cli {

namespace {

void say(const std::string& text) {
  std::fputs((text + "\n").c_str(), stderr);
}

class Loop {
 public:
  Loop(LineSource& lines, Conversation& conversation) : lines_(lines), conversation_(conversation) {}

  int run() {
    while (!done_) {
      const Line line = lines_.next();
      if (line.kind == Line::Kind::end) break;
      if (line.kind == Line::Kind::interrupted) {
        say("[chat] Ctrl-C again, or Ctrl-D, ends the program");
        continue;
      }
      if (line.text.find_first_not_of(" \t\r\n") == std::string::npos) continue;
      try {
        if (const int code = obey(line.text); code != 0) return code;
      } catch (const Error& e) {
        if (!lines_.person() || !survivable(e)) throw;
        std::fprintf(stderr, "error: %s\n", e.what());
      }
    }
    return 0;
  }

 private:
  // A failed turn may leave the model in doubt; what is refused before it began, or a command, does not.
  bool survivable(const Error& e) const { return in_command_ || e.code() == ExitCode::usage; }

  int obey(const std::string& line) {
    in_command_ = true;
    const std::optional<SlashCommand> command = parse_slash_command(line);
    if (command) return run(*command);
    return turn(std::string(message_of(line)));
  }

  int turn(const std::string& message) {
    in_command_ = false;
    return conversation_.turn(message);
  }

  int run(const SlashCommand& command) {
    using Name = SlashCommand::Name;
    switch (command.name) {
      case Name::help:
        std::fputs(slash_help().c_str(), stderr);
        return 0;
      case Name::reset:
        conversation_.reset();
        say("[chat] begun anew");
        return 0;
      case Name::undo:
        say(conversation_.undo() ? "[chat] the last turn is taken back"
                                 : "[chat] there is no turn to take back");
        return 0;
      case Name::regen:
        return regenerate();
      case Name::stats:
        std::fputs(conversation_.stats().c_str(), stderr);
        return 0;
      case Name::clear_cache:
        say(fmt::format("[chat] eval weight cache cleared: {:.1f} MiB freed",
                        static_cast<double>(conversation_.clear_cache()) / (1 << 20)));
        return 0;
      case Name::system:
        return system(command.argument);
      case Name::save:
        say(conversation_.save(command.argument));
        return 0;
      case Name::load:
        say(conversation_.load(command.argument));
        return 0;
      case Name::exit:
        done_ = true;
        return 0;
    }
    return 0;
  }

  int regenerate() {
    const std::optional<std::string> user = conversation_.undo();
    if (!user) {
      say("[chat] there is no turn to answer again");
      return 0;
    }
    return turn(*user);
  }

  int system(const std::string& text) {
    if (text.empty()) {
      const std::optional<std::string> now = conversation_.system();
      say(now ? "[chat] system message: " + *now
              : "[chat] no system message of our own: the chat template decides");
      return 0;
    }
    conversation_.set_system(text);
    say("[chat] begun anew with this system message");
    return 0;
  }

  LineSource& lines_;
  Conversation& conversation_;
  bool in_command_ = false;
  bool done_ = false;
};

}  // namespace

int run_chat_loop(LineSource& lines, Conversation& conversation) {
  return Loop(lines, conversation).run();
}

}  // namespace tetrad::cli
