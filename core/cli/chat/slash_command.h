// The commands of a conversation: lines that begin with '/'. "//..." is a message that begins with one '/'.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tetrad::cli {

struct SlashCommand {
  enum class Name : std::uint8_t {
    help,
    reset,
    undo,
    regen,
    stats,
    clear_cache,
    system,
    save,
    load,
    exit,
  };
  Name name = Name::help;
  std::string argument;  // "" without one
};

// The command that `line` is; nothing for a message. Throws Error(usage) for an unknown command, a missing
// argument or one too many.
std::optional<SlashCommand> parse_slash_command(std::string_view line);

// The message that a line which is no command stands for: "//x" is "/x".
std::string_view message_of(std::string_view line) noexcept;

// What /help prints.
std::string slash_help();

}  // namespace tetrad::cli
