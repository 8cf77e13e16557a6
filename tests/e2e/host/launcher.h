// Starts `host` as a user would, with the stand-in engine, and collects what comes back; also on a
// pseudo-terminal.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace tetrad::e2e {

struct Result {
  int exit_code = -1;  // 128 + n after signal n, as a shell says it
  std::string out;
  std::string err;
};

std::string host_file();
std::string fake_engine_file();

// Runs host to its end, at most 60 s (then killed, exit code 255).
Result run_host(const std::vector<std::string>& arguments, const std::string& input = {});

// A started host whose output is read line by line.
class Started {
 public:
  // on_terminal: stdin, stdout and stderr are a pseudo-terminal of its own session, else stdout and stderr
  // one pipe.
  Started(const std::vector<std::string>& arguments, bool on_terminal);
  // The same on a pseudo-terminal for any program: `child` runs in it and must not return.
  explicit Started(const std::function<void()>& child);
  ~Started();
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

  pid_t pid() const noexcept { return pid_; }
  int terminal() const noexcept { return fd_; }
  const std::string& seen() const noexcept { return seen_; }

  // Reads until `text` has been seen again after the last hit; false at the end of the output or after 30 s.
  bool wait_for(const std::string& text);
  void type(const std::string& keys) const;
  // Waits for the end; the exit code as in Result.
  int finish();

 private:
  bool read_more();
  pid_t pid_ = -1;
  int fd_ = -1;
  std::string seen_;
  std::size_t from_ = 0;
};

// A folder for one test, with a valid config `c.yaml` in it.
class Workplace {
 public:
  Workplace();
  ~Workplace();
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  void write(const std::string& name, const std::string& text) const;
  // Arguments that let the stand-in engine obey `order`: generate --config ... --prompt ORDER.
  std::vector<std::string> generate(const std::string& order,
                                    const std::vector<std::string>& more = {}) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace tetrad::e2e
