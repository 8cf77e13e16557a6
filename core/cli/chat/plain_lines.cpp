#include "cli/chat/plain_lines.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace tetrad::cli {

Line PlainLines::next() {
  if (person_) {
    std::fputs(prompt_.c_str(), stderr);
    std::fflush(stderr);
  }
  Line line{Line::Kind::text, {}};
  int c = 0;
  errno = 0;
  while ((c = std::getchar()) != EOF && c != '\n') line.text.push_back(static_cast<char>(c));
  if (c == EOF && std::ferror(stdin) != 0)
    throw Error(fmt::format("[chat] reading standard input failed: {}", std::strerror(errno)));
  if (c == EOF && line.text.empty()) return {};
  if (!line.text.empty() && line.text.back() == '\r') line.text.pop_back();
  return line;
}

}  // namespace tetrad::cli
