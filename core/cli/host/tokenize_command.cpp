#include "cli/host/commands.h"
#include "text/tokenizer.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>

namespace tetrad::cli {

namespace {

std::string read_stdin() {
  std::string text;
  std::array<char, 65536> chunk;
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw Error(fmt::format("[tokenize] reading standard input failed: {}", std::strerror(errno)));
    if (got == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

std::vector<std::int32_t> parse_ids(const std::string& text) {
  const auto array = nlohmann::json::parse(text, nullptr, false);
  if (!array.is_array()) {
    throw Error(ExitCode::usage,
                "[tokenize] --decode wants a JSON array of ids on standard input, e.g. [1, 2, 3]");
  }
  std::vector<std::int32_t> ids;
  ids.reserve(array.size());
  for (const auto& item : array) {
    const bool whole = item.is_number_integer();
    if (!whole || item < 0 || item > std::numeric_limits<std::int32_t>::max()) {
      throw Error(ExitCode::usage,
                  fmt::format("[tokenize] '{}' at index {} is not a token id", item.dump(), ids.size()));
    }
    ids.push_back(item.get<std::int32_t>());
  }
  return ids;
}

void write_all(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error(fmt::format("[tokenize] writing failed: {}", std::strerror(errno)));
  }
}

}  // namespace

int run_tokenize_command(const Arguments& arguments) {
  const text::Tokenizer tokenizer = text::Tokenizer::load(arguments.model);
  const std::string input = read_stdin();
  if (arguments.decode) {
    write_all(tokenizer.decode(parse_ids(input)));
  } else {
    write_all(nlohmann::json(tokenizer.encode(input)).dump() + "\n");
  }
  return 0;
}

}  // namespace tetrad::cli
