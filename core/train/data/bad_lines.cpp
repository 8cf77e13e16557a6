#include "train/data/bad_lines.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <utility>

namespace tetrad::train {

OnBadLine parse_on_bad_line(std::string_view word) {
  if (word == "stop") return OnBadLine::stop;
  if (word == "skip") return OnBadLine::skip;
  throw Error(ExitCode::usage,
              fmt::format("[data] on_bad_line: '{}' is not known; there are stop and skip", word));
}

void BadLines::add(std::int64_t line, std::string reason) {
  lines_.push_back({line, std::move(reason)});
}

void BadLines::settle() const {
  if (policy_ == OnBadLine::skip || lines_.empty()) return;
  constexpr std::size_t shown = 20;
  std::string text = fmt::format("[data] {}: {} cannot be used:", file_,
                                 lines_.size() == 1 ? "a line" : fmt::format("{} lines", lines_.size()));
  for (std::size_t i = 0; i < std::min(shown, lines_.size()); ++i)
    text += fmt::format("\n  line {}: {}", lines_[i].line, lines_[i].reason);
  if (lines_.size() > shown) text += fmt::format("\n  and {} more", lines_.size() - shown);
  text += "\nCorrect the file, or set on_bad_line: skip to train without these lines";
  throw Error(ExitCode::usage, text);
}

}  // namespace tetrad::train
