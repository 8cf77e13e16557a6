#include "parity/report/tokens.h"

#include "parity/fields.h"
#include "parity/report/width.h"

#include <fmt/format.h>

#include <cmath>

namespace tetrad::parity {

using nlohmann::json;

std::string piece_text(const json& piece) {
  if (const json& plain = at(piece, "text"); plain.is_string()) return shown(plain.get<std::string>());
  const json& bytes = at(piece, "bytes");
  if (!bytes.is_string()) return {};
  const std::string hex = shown(bytes.get<std::string>());
  std::string out = "<";
  for (std::size_t i = 0; i < hex.size(); ++i) {
    if (i > 0 && i % 2 == 0) out += ' ';
    out += hex[i];
  }
  return out + ">";
}

std::string token_text(const json& token) {
  const json& id = at(token, "id");
  if (!id.is_number_integer()) return "-";
  const json& piece = at(token, "piece");
  const std::string number = fmt::format("#{}", id.get<std::int64_t>());
  if (at(piece, "text").is_string()) return fmt::format("\"{}\" {}", piece_text(piece), number);
  if (at(piece, "bytes").is_string()) return fmt::format("{} {}", piece_text(piece), number);
  return number;
}

std::string short_number(std::optional<double> value) {
  if (!value || !std::isfinite(*value)) return "-";
  const double v = *value;
  const double size = std::fabs(v);
  if (v == 0) return "0";
  if (size < 1e-3) return fmt::format("{:.2g}", v);
  if (size < 1) return fmt::format("{:.3g}", v);
  if (size < 100) return fmt::format("{:.4g}", v);
  return fmt::format("{:.0f}", v);
}

std::string percent(std::optional<double> share) {
  if (!share) return "-";
  if (*share == 1) return "100 %";
  // Never rounded up to 100: one token of ten thousand is the one that matters.
  return fmt::format("{} %", std::floor(*share * 1000) / 10);
}

std::string gib(std::optional<double> bytes) {
  if (!bytes) return "-";
  const double mib = *bytes / (1024.0 * 1024.0);
  if (mib < 1000) return mib < 10 ? fmt::format("{:.2f} MiB", mib) : fmt::format("{:.0f} MiB", mib);
  return fmt::format("{:.2f} GiB", mib / 1024);
}

std::string seconds(std::optional<double> value) {
  if (!value) return "-";
  if (*value < 1) return fmt::format("{:.3g} ms", *value * 1000);
  return fmt::format("{:.3g} s", *value);
}

}  // namespace tetrad::parity
