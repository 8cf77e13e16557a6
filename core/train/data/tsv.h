// `prompt<TAB>target`, one pair a line: the simplest way to teach a model answers. Lines that begin with '#'
// are comments. Nothing is escaped and nothing trimmed: what stands between the line's beginning, the tab and
// the line's end is what the model sees.
#pragma once

#include "train/data/bad_lines.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace tetrad::train {

struct PromptTarget {
  std::int64_t line = 0;
  std::string_view prompt;  // into the text
  std::string_view target;
};

struct TsvFile {
  std::vector<PromptTarget> pairs;
  std::int64_t lines = 0;
  std::int64_t comments = 0;
};

// `text`: as check_encoding() returns it. Lines that are no pair go to `bad`: empty ones, without or with
// more than one tab, with an empty prompt or target, or for one of line_problem()'s reasons.
TsvFile parse_tsv(std::string_view text, BadLines& bad);

}  // namespace tetrad::train
