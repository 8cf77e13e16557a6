// `host plugins check` as a user runs it.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace tetrad::check_tests {

struct Output {
  int exit_code = -1;
  std::string text;  // stdout and stderr
};

inline Output run_check(const std::string& arguments) {
  const std::string command = std::string(TETRAD_BINARY_DIR "/bin/host plugins check ") + arguments + " 2>&1";
  Output output;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return output;
  std::array<char, 4096> chunk;
  for (std::size_t n = 0; (n = std::fread(chunk.data(), 1, chunk.size(), pipe)) > 0;)
    output.text.append(chunk.data(), n);
  const int status = ::pclose(pipe);
  output.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return output;
}

}  // namespace tetrad::check_tests
