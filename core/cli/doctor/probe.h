// Asking another program something without ever waiting longer than a deadline: a child with its output in a
// pipe, read without blocking, killed when it is late and, where even that does not end it (a driver that
// hangs inside the kernel), left behind. Several probes run at the same time; each is collected on its own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tetrad::cli {

struct ProbeResult {
  enum class End { ended, not_started, late } end = End::not_started;
  int exit_code = -1;   // when ended; 128 + n after signal n
  std::string output;   // stdout, at most 1 MiB
  std::string problem;  // why not_started or late, in words
};

class Probe {
 public:
  // Starts at once; a program that cannot be started shows in the result.
  Probe(const std::string& program, const std::vector<std::string>& arguments);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // Waits until the program has ended or the deadline (CLOCK_MONOTONIC, ns) has come.
  ProbeResult collect(std::int64_t deadline_ns);

 private:
  pid_t pid_ = -1;
  int output_ = -1;
  std::string problem_;
};

// Kills a child that is late and collects it if that works within some milliseconds.
void abandon(pid_t pid) noexcept;

}  // namespace tetrad::cli
