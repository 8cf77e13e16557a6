// NVIDIA GPUs through nvidia-smi: a program of the driver's own that can hang with it, so it is asked as a
// Probe. On unified-memory machines (GB10) and others several fields read "[N/A]" or "[Not Supported]": those
// are null.
#pragma once

#include "cli/doctor/probe.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace tetrad::cli {

// Arguments of nvidia-smi for parse_gpus().
std::vector<std::string> gpu_query();

// {"status": "ok" | "none" | "late" | "failed", "problem": text or null, "gpus": [{"index", "name", "driver",
//  "compute_capability", "memory_total_bytes", "memory_free_bytes"}]}
nlohmann::json gpu_facts(const ProbeResult& result);

// The CSV of gpu_query(), one GPU a line; a line of another shape is left out.
nlohmann::json parse_gpus(const std::string& csv);

}  // namespace tetrad::cli
