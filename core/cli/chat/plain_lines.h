// Lines of standard input as they are: from a pipe or a file, or from a terminal that no editor can serve
// (TERM=dumb), where the kernel's own line editing remains.
#pragma once

#include "cli/chat/line_source.h"

namespace tetrad::cli {

class PlainLines : public LineSource {
 public:
  // prompt: shown on stderr before each line when a person types.
  PlainLines(bool person, std::string prompt) : person_(person), prompt_(std::move(prompt)) {}

  // Throws Error when standard input cannot be read.
  Line next() override;
  bool person() const noexcept override { return person_; }

 private:
  bool person_;
  std::string prompt_;
};

}  // namespace tetrad::cli
