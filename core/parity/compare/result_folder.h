// A parity result folder as read and checked: plan, script, and what each arm left. Contract: ids lie in the
// vocabulary, segments in the script, folders inside the result folder; an arm without arm.json, or with one
// that says "failed", is kept with its error; everything else that is wrong is Error(usage) naming the file.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tetrad::parity {

struct ArmFiles {
  nlohmann::json plan;  // its entry in plan.json
  std::filesystem::path folder;
  nlohmann::json record;  // arm.json; null when there is none
  std::string label;
  bool ok = false;
  std::string error;  // why it is not ok
};

struct ResultFolder {
  std::filesystem::path path;
  nlohmann::json plan;
  nlohmann::json script;  // null when the reference failed before it made one
  std::vector<std::int64_t> ids;
  std::vector<ArmFiles> arms;
  std::size_t reference = 0;

  // The arm that `arm` is compared with: the reference, or the one that the plan names for it;
  // itself for a reference.
  std::size_t base_of(std::size_t arm) const;
};

ResultFolder read_result_folder(const std::filesystem::path& path);

}  // namespace tetrad::parity
