#include "cli/doctor/gpu.h"

#include <charconv>
#include <sstream>

namespace tetrad::cli {

using nlohmann::json;

namespace {

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream in(line);
  for (std::string cell; std::getline(in, cell, ',');) {
    const std::size_t first = cell.find_first_not_of(" \t\r");
    const std::size_t last = cell.find_last_not_of(" \t\r");
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return cells;
}

bool unknown(const std::string& cell) {
  return cell.empty() || cell.front() == '[' || cell == "N/A" || cell == "Not Supported";
}

json text(const std::string& cell) {
  return unknown(cell) ? json(nullptr) : json(cell);
}

json number(const std::string& cell, std::uint64_t unit) {
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (unknown(cell) || error != std::errc{} || stop != cell.data() + cell.size()) return nullptr;
  return value * unit;
}

}  // namespace

std::vector<std::string> gpu_query() {
  return {"--query-gpu=index,name,driver_version,compute_cap,memory.total,memory.free",
          "--format=csv,noheader,nounits"};
}

json parse_gpus(const std::string& csv) {
  constexpr std::uint64_t mib = std::uint64_t{1} << 20;
  constexpr std::size_t columns = 6;
  json gpus = json::array();
  std::istringstream in(csv);
  for (std::string line; std::getline(in, line);) {
    const std::vector<std::string> cells = split(line);
    if (cells.size() != columns || number(cells[0], 1).is_null()) continue;
    gpus.push_back({{"index", number(cells[0], 1)},
                    {"name", text(cells[1])},
                    {"driver", text(cells[2])},
                    {"compute_capability", text(cells[3])},
                    {"memory_total_bytes", number(cells[4], mib)},
                    {"memory_free_bytes", number(cells[5], mib)}});
  }
  return gpus;
}

json gpu_facts(const ProbeResult& result) {
  json facts = {{"status", "ok"}, {"problem", nullptr}, {"gpus", json::array()}};
  switch (result.end) {
    case ProbeResult::End::not_started:
      facts["status"] = "none";
      facts["problem"] = "nvidia-smi is not installed";
      return facts;
    case ProbeResult::End::late:
      facts["status"] = "late";
      facts["problem"] = "nvidia-smi gave no answer in time; the driver may hang";
      return facts;
    case ProbeResult::End::ended:
      break;
  }
  if (result.exit_code != 0) {
    facts["status"] = "failed";
    const std::string first_line = result.output.substr(0, result.output.find('\n'));
    facts["problem"] = "nvidia-smi ended with exit code " + std::to_string(result.exit_code) +
                       (first_line.empty() ? "" : ": " + first_line);
    return facts;
  }
  facts["gpus"] = parse_gpus(result.output);
  if (facts["gpus"].empty()) facts["status"] = "none";
  return facts;
}

}  // namespace tetrad::cli
