// What every run of the engine has in common on the launcher's side: its guard, the words for how it ended,
// and a folder's path as one would type it.
#pragma once

#include "cli/launch/prepare.h"
#include "cli/supervise/supervisor.h"
#include "runs/folder.h"

#include <filesystem>
#include <string>

namespace tetrad::cli {

// The guard that the config asks for, with the line that says so.
Supervision guarded(const Prepared& prepared);

// Without wall_seconds.
runs::Ending ending_of(const Outcome& outcome);

// Below the current directory as one would type it.
std::string shown_path(const std::filesystem::path& folder);

// Plugins of a run for its record: kind, id, version, file, build id.
nlohmann::json plugin_records(const Prepared& prepared);

}  // namespace tetrad::cli
