// Reading what runs have left: the newest first, one by name, one as a whole. Contract: folders are taken as
// they are found; a file that is missing or broken costs its own part of the answer and nothing else, because
// runs that were cut off are just those that one wants to look at.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::runs {

struct Entry {
  std::string name;
  std::filesystem::path folder;
  std::string started_utc, config, task;
  std::string state;  // of status.json, "running", or "lost" (it neither runs nor says how it ended)
  std::optional<int> exit_code;
  std::optional<double> tok_s;
};

struct Listing {
  std::vector<Entry> runs;  // newest first
  std::size_t older = 0;    // left out by `most`
};

// The runs in `parent`; empty when there is no such folder. At most `most`, 0 = all.
Listing list_runs(const std::filesystem::path& parent, std::size_t most);

// The folder of the run `name` in `parent`: its name, the beginning of exactly one name, "latest", or the
// path of a run's folder. Throws Error(usage) saying what there is instead.
std::filesystem::path find_run(const std::filesystem::path& parent, const std::string& name);

// {"name", "folder", "description": config.json, "record": record.json, "status": status.json}; what is
// missing or unreadable is null, and status.state is then "running" or "lost".
nlohmann::json read_run(const std::filesystem::path& folder);

// Generated (chat, generate) or evaluated (eval) tokens per second of a run as read_run() gives it; null when
// there is no such figure.
nlohmann::json tokens_per_second(const nlohmann::json& run);

}  // namespace tetrad::runs
