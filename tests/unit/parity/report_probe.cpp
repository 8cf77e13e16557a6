// For tests in other languages: `parity_report_probe FOLDER [en|zh-TW]` compares a result folder and leaves
// report.json, report.csv and report.html in it; the terminal's table goes to stdout. Exit code: the
// verdict's.
#include <tetrad/base/error.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "io/atomic_file.h"
#include "parity/compare/compare.h"
#include "parity/compare/seal.h"
#include "parity/report/report.h"

int main(int argc, char** argv) try {
  const std::filesystem::path folder = argc > 1 ? argv[1] : ".";
  const auto language = tetrad::runs::parse_language(argc > 2 ? argv[2] : "en");
  const nlohmann::json report = tetrad::parity::make_report(folder);
  tetrad::parity::write_report(folder / "report.json", report);
  tetrad::io::write_file(folder / "report.csv", tetrad::parity::csv_report(report));
  tetrad::io::write_file(folder / "report.html", tetrad::parity::html_report(report, language));
  std::fputs(tetrad::parity::terminal_report(report, language, 100, false).c_str(), stdout);
  return report.at("verdict").at("exit_code").get<int>();
} catch (const tetrad::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 10 + static_cast<int>(error.code());
}
