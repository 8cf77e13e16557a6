// What `host doctor --verify` remembers beside the user's data: kernels that failed on a device, by plugin
// and build. A run refuses what stands there; a verification that passes on the same device, or another build
// of the plugin, clears it. The file is small JSON, replaced as a whole:
//   {"format": 1, "devices": {"NVIDIA H100 80GB HBM3 sm_90": {"time", "report", "failed":
//     [{"owner", "build_id", "kernel", "verdict", "detail"}]}}}
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace tetrad::cli {

struct FailedKernel {
  std::string owner;     // "core" or a plugin's id
  std::string build_id;  // of the owner's file
  std::string kernel, verdict, detail;
};

// $XDG_STATE_HOME/tetrad/verified.json, ~/.local/state/... without it; empty where there is neither.
std::filesystem::path verified_file();

// Replaces what `file` says of `device`. `report`: the JSON file of the verification. Makes the folder.
void record_verification(const std::filesystem::path& file, const std::string& device,
                         const std::string& time, const std::string& report,
                         const std::vector<FailedKernel>& failed);

// Throws Error(plugin_refused) naming the first kernel when `file` says that this build of `owner` failed on
// `device`. A file that is not there says nothing; one that cannot be read is an Error naming it.
void require_not_failed(const std::filesystem::path& file, const std::string& device,
                        const std::string& owner, const std::string& build_id);

}  // namespace tetrad::cli
