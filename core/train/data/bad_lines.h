// Lines of a data file that cannot be used: collected with their numbers and reasons, and then either an
// error that lists them or an entry in the report, as the config says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::train {

enum class OnBadLine { stop, skip };
// "stop" or "skip". Throws Error(usage) for another word.
OnBadLine parse_on_bad_line(std::string_view word);

struct BadLine {
  std::int64_t line = 0;  // counted from 1, as an editor does
  std::string reason;
  bool operator==(const BadLine&) const = default;
};

class BadLines {
 public:
  BadLines(std::string file, OnBadLine policy) : file_(std::move(file)), policy_(policy) {}

  // Takes note of a line. `reason` says what is wrong with it, printable, without the number.
  void add(std::int64_t line, std::string reason);

  // Throws Error(usage) naming the lines (the first of them, where there are many) when there are any and the
  // policy is to stop. Called once, when the file has been read.
  void settle() const;

  const std::vector<BadLine>& all() const noexcept { return lines_; }

 private:
  std::string file_;
  OnBadLine policy_;
  std::vector<BadLine> lines_;
};

}  // namespace tetrad::train
