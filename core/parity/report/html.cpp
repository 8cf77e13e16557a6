#include "parity/report/report.h"

#include <nlohmann/json.hpp>

namespace tetrad::parity {

std::string html_report(const nlohmann::json& report, Language language) {
  std::string body;
  for (const char c : terminal_report(report, language, 160, false)) {
    body += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string(1, c);
  }
  return "<!doctype html><meta charset=\"utf-8\"><pre>" + body + "</pre>\n";
}

}  // namespace tetrad::parity
