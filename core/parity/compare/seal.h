// A report's checksum: "sha256" over the canonical dump of everything else, so that a report that was cut
// short or altered is refused and never shown as if it were one.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>

namespace tetrad::parity {

// Sets "sha256".
void seal(nlohmann::json& report);

// Writes a sealed report, whole or not at all.
void write_report(const std::filesystem::path& file, const nlohmann::json& report);

// A report.json, or the one in a result folder. Throws Error(usage) naming the file when it is missing, no
// report, of another version, cut short or altered.
nlohmann::json read_report(const std::filesystem::path& file_or_folder);

}  // namespace tetrad::parity
