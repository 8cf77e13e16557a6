#include "train/data/tsv.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "train/data/text_file.h"

namespace tetrad::train {
namespace {

bool blank(std::string_view text) {
  return text.find_first_not_of(" \t") == std::string_view::npos;
}

}  // namespace

TsvFile parse_tsv(std::string_view text, BadLines& bad) {
  TsvFile file;
  LineReader lines(text);
  for (std::string_view line; lines.next(line);) {
    if (line.starts_with('#')) {
      ++file.comments;
      continue;
    }
    if (std::string problem = line_problem(line); !problem.empty()) {
      bad.add(lines.number(), std::move(problem));
      continue;
    }
    const auto tabs = std::count(line.begin(), line.end(), '\t');
    const std::size_t tab = line.find('\t');
    const std::string_view prompt = line.substr(0, tab);
    if (line.find_first_not_of(" \t") == std::string_view::npos) {
      bad.add(lines.number(), "it is empty");
    } else if (tabs == 0) {
      bad.add(lines.number(), "there is no tab between prompt and target (spaces do not count)");
    } else if (blank(prompt)) {
      bad.add(lines.number(), "the prompt, before the tab, is empty");
    } else if (tabs > 1) {
      bad.add(
          lines.number(),
          fmt::format("there are {} tabs, and a line has one; use a JSONL file of messages for texts with "
                      "tabs or line breaks",
                      tabs));
    } else if (blank(line.substr(tab + 1))) {
      bad.add(lines.number(), "the target, after the tab, is empty");
    } else {
      file.pairs.push_back({lines.number(), prompt, line.substr(tab + 1)});
    }
  }
  file.lines = lines.number();
  return file;
}

}  // namespace tetrad::train
