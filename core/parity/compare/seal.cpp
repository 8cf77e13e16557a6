#include "parity/compare/seal.h"

#include "io/atomic_file.h"
#include "io/json.h"
#include "parity/files.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>
#include <nlohmann/json.hpp>

#include <string>

namespace tetrad::parity {

using nlohmann::json;

namespace {

constexpr const char* seal_key = "sha256";

std::string checksum(const json& report) {
  json rest = report;
  rest.erase(seal_key);
  return sha256_hex(rest.dump());
}

}  // namespace

void seal(json& report) {
  report[seal_key] = checksum(report);
}

void write_report(const std::filesystem::path& file, const json& report) {
  io::write_file(file, report.dump(1) + "\n");
}

json read_report(const std::filesystem::path& file_or_folder) {
  std::error_code ignored;
  const std::filesystem::path file = std::filesystem::is_directory(file_or_folder, ignored)
                                         ? file_or_folder / report_json_file
                                         : file_or_folder;
  const auto refuse = [&](const std::string& what) {
    throw Error(ExitCode::usage, fmt::format("[parity] {}: {}", file.string(), what));
  };
  if (!std::filesystem::exists(file, ignored)) {
    refuse("no such report; give the folder of a comparison that has finished, or its report.json");
  }
  json report;
  try {
    report = io::read_json(file, {std::size_t{512} << 20, 32, std::size_t{32} << 20});
  } catch (const Error& error) {
    refuse(
        fmt::format("the report cannot be read, it was cut short or damaged ({}); make it again from the "
                    "result folder's arms",
                    error.what()));
  }
  if (!report.is_object() || report.value("format", json()) != json(report_format)) {
    refuse("not a parity report");
  }
  if (report.value("version", json()) != json(format_version)) {
    refuse(fmt::format("a report of version {}, this program reads {}",
                       report.value("version", json()).dump(), format_version));
  }
  if (report.value(seal_key, json()) != json(checksum(report))) {
    refuse(
        "its content does not match its checksum: it was cut short or altered; make it again from the "
        "result folder's arms");
  }
  return report;
}

}  // namespace tetrad::parity
