// Errors and warnings about a config, collected so that the user sees all of them at once. Each line reads
// `file:line:col: message` (or `--set a.b=c: message`), sorted by file and line.
#pragma once

#include <tetrad/base/error.h>

#include "config/origin.h"

#include <string>
#include <vector>

namespace tetrad::config {

enum class Severity : std::uint8_t { error, warning };

struct Diagnostic {
  Origin where;
  std::string message;
  Severity severity = Severity::error;
  // The exit code that this error alone would end the program with: usage, or plugin_refused.
  ExitCode code = ExitCode::usage;

  // "configs/a.yaml:3:5: message"; warnings read "configs/a.yaml:3:5: warning: message".
  std::string to_string() const;
};

// Thrown when a config cannot be used. what() holds one line per error, without a trailing newline; code() is
// ExitCode::usage, or plugin_refused when refused plugins are the only errors.
class ConfigError : public Error {
 public:
  explicit ConfigError(std::vector<Diagnostic> errors);
  const std::vector<Diagnostic>& errors() const noexcept { return errors_; }

 private:
  std::vector<Diagnostic> errors_;
};

class Diagnostics {
 public:
  void error(Origin where, std::string message, ExitCode code = ExitCode::usage);
  void warning(Origin where, std::string message);
  void append(const Diagnostics& other);

  bool has_errors() const noexcept;
  // Sorted: first what has no place, then files by name and position, then --set arguments; repeats left out.
  std::vector<Diagnostic> errors() const { return sorted(Severity::error); }
  std::vector<Diagnostic> warnings() const { return sorted(Severity::warning); }
  // Throws ConfigError when there are errors.
  void throw_if_errors() const;

 private:
  std::vector<Diagnostic> sorted(Severity severity) const;
  std::vector<Diagnostic> all_;
};

}  // namespace tetrad::config
