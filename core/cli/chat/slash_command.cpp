#include "cli/chat/slash_command.h"

#include "config/suggest.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <array>
#include <vector>

namespace tetrad::cli {

namespace {

enum class Takes { nothing, maybe, one };

struct Entry {
  const char* word;
  SlashCommand::Name name;
  Takes takes;
  const char* argument;
  const char* what;
};

using Name = SlashCommand::Name;
constexpr std::array entries = {
    Entry{"/help", Name::help, Takes::nothing, "", "this list"},
    Entry{"/reset", Name::reset, Takes::nothing, "", "forget the conversation and begin anew"},
    Entry{"/undo", Name::undo, Takes::nothing, "", "take the last turn back"},
    Entry{"/regen", Name::regen, Takes::nothing, "", "take the last answer back and answer again"},
    Entry{"/stats", Name::stats, Takes::nothing, "", "tokens, memory and speed so far"},
    Entry{"/clear-cache", Name::clear_cache, Takes::nothing, "",
          "drop the dequantised weights kept for decoding (eval weight cache)"},
    Entry{"/system", Name::system, Takes::maybe, "[TEXT]",
          "show the system message, or begin anew with another"},
    Entry{"/save", Name::save, Takes::one, "FILE", "store the conversation"},
    Entry{"/load", Name::load, Takes::one, "FILE", "go on with a stored conversation"},
    Entry{"/exit", Name::exit, Takes::nothing, "", "end (Ctrl-D does too)"},
};

std::string_view trim(std::string_view text) {
  constexpr std::string_view white = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(white);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(white) - begin + 1);
}

}  // namespace

std::optional<SlashCommand> parse_slash_command(std::string_view line) {
  if (!line.starts_with('/') || line.starts_with("//")) return std::nullopt;
  const std::size_t end = line.find_first_of(" \t\r\n");
  const std::string word(line.substr(0, end));
  const std::string argument(end == std::string_view::npos ? std::string_view{} : trim(line.substr(end)));
  const auto entry =
      std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return word == e.word; });
  if (entry == entries.end()) {
    std::vector<std::string> words;
    for (const Entry& e : entries) words.emplace_back(e.word);
    const std::string near = config::did_you_mean(word, words);
    throw Error(ExitCode::usage,
                fmt::format("[chat] no command '{}'{}; a message that begins with '/' is written '//...'",
                            word, near.empty() ? "; /help lists them" : near));
  }
  if (entry->takes == Takes::one && argument.empty())
    throw Error(ExitCode::usage, fmt::format("[chat] {0} needs an argument: {0} {1}", word, entry->argument));
  if (entry->takes == Takes::nothing && !argument.empty())
    throw Error(ExitCode::usage, fmt::format("[chat] {} takes no argument", word));
  return SlashCommand{entry->name, argument};
}

std::string_view message_of(std::string_view line) noexcept {
  return line.starts_with("//") ? line.substr(1) : line;
}

std::string slash_help() {
  std::string text;
  for (const Entry& e : entries)
    text += fmt::format("  {:<16} {}\n", fmt::format("{} {}", e.word, e.argument), e.what);
  text +=
      "A message that begins with '/' is written '//...'. Alt-Enter begins a new line within a message; "
      "pasted text\n"
      "keeps its lines. Ctrl-C ends an answer, twice in a row the program.\n";
  return text;
}

}  // namespace tetrad::cli
