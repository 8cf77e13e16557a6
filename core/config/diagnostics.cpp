#include "config/diagnostics.h"

#include "sdk/base/printable.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tetrad::config {
namespace {

constexpr std::size_t longest = std::size_t{16} << 10;      // a list of plugins and places is long
constexpr std::size_t longest_all = std::size_t{48} << 10;  // some hundred ordinary errors

std::string joined(const std::vector<Diagnostic>& errors) {
  std::string text;
  for (std::size_t i = 0; i < errors.size(); ++i) {
    const std::string line = errors[i].to_string();
    if (i > 0 && text.size() + line.size() > longest_all) {
      return text + "\n" + std::to_string(errors.size() - i) + " more errors are not shown; mend these first";
    }
    if (i > 0) text += '\n';
    text += line;
  }
  return text;
}

ExitCode common_code(const std::vector<Diagnostic>& errors) {
  const bool all_plugins =
      !errors.empty() && std::all_of(errors.begin(), errors.end(),
                                     [](const Diagnostic& e) { return e.code == ExitCode::plugin_refused; });
  return all_plugins ? ExitCode::plugin_refused : ExitCode::usage;
}

// --set arguments sort by their number, which `line` holds.
std::tuple<Origin::Kind, const std::string&, int, int, const std::string&> sort_key(const Diagnostic& d) {
  static const std::string nothing;
  const bool by_name = d.where.kind == Origin::Kind::file && d.where.source;
  return {d.where.kind, by_name ? *d.where.source : nothing, d.where.line, d.where.column, d.message};
}

}  // namespace

std::string Diagnostic::to_string() const {
  std::string text = where.prefix();
  if (!text.empty()) text += ": ";
  if (severity == Severity::warning) text += "warning: ";
  return printable(text + message, longest, Newlines::keep);
}

ConfigError::ConfigError(std::vector<Diagnostic> errors)
    : Error(common_code(errors), joined(errors)), errors_(std::move(errors)) {}

void Diagnostics::error(Origin where, std::string message, ExitCode code) {
  all_.push_back({std::move(where), std::move(message), Severity::error, code});
}

void Diagnostics::warning(Origin where, std::string message) {
  all_.push_back({std::move(where), std::move(message), Severity::warning, ExitCode::ok});
}

void Diagnostics::append(const Diagnostics& other) {
  all_.insert(all_.end(), other.all_.begin(), other.all_.end());
}

bool Diagnostics::has_errors() const noexcept {
  return std::any_of(all_.begin(), all_.end(),
                     [](const Diagnostic& d) { return d.severity == Severity::error; });
}

std::vector<Diagnostic> Diagnostics::sorted(Severity severity) const {
  std::vector<Diagnostic> result;
  for (const Diagnostic& d : all_) {
    if (d.severity == severity) result.push_back(d);
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const Diagnostic& a, const Diagnostic& b) { return sort_key(a) < sort_key(b); });
  const auto same = [](const Diagnostic& a, const Diagnostic& b) { return sort_key(a) == sort_key(b); };
  result.erase(std::unique(result.begin(), result.end(), same), result.end());
  return result;
}

void Diagnostics::throw_if_errors() const {
  if (has_errors()) throw ConfigError(errors());
}

}  // namespace tetrad::config
