#include "parity/compare/result_folder.h"

#include "io/json.h"
#include "parity/compare/arm_file.h"
#include "parity/fields.h"
#include "parity/files.h"
#include "sdk/base/printable.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <utility>

namespace tetrad::parity {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t most_tokens = std::int64_t{1} << 22;

json read(const fs::path& file, const char* format) {
  json value;
  try {
    value = io::read_json(file, {std::size_t{256} << 20, 64, std::size_t{16} << 20});
  } catch (const Error& error) {
    refuse(file,
           fmt::format("it is missing, cut short or damaged ({}); run the comparison again with --resume",
                       error.what()));
  }
  if (!value.is_object() || text(value, "format") != format) {
    refuse(file, fmt::format("not a file of format '{}'", format));
  }
  if (at(value, "version") != json(format_version)) {
    refuse(file, fmt::format("version {}, this program reads {}", printable(at(value, "version").dump()),
                             format_version));
  }
  return value;
}

void check_script(const fs::path& file, const json& script, std::vector<std::int64_t>& ids) {
  const json& list = at(script, "ids");
  const json& vocabulary = at(script, "vocab_size");
  if (!list.is_array() || list.empty()) refuse(file, "'ids' is missing or empty: there is nothing to score");
  if (static_cast<std::int64_t>(list.size()) > most_tokens) {
    refuse(file, fmt::format("{} ids, at most {} make sense", list.size(), most_tokens));
  }
  if (!vocabulary.is_number_integer() || vocabulary.get<std::int64_t>() <= 0) {
    refuse(file, "'vocab_size' is not a whole number above 0");
  }
  const auto size = vocabulary.get<std::int64_t>();
  for (const json& id : list) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= size) {
      refuse(file, fmt::format("id {} is not in the vocabulary of {}", printable(id.dump()), size));
    }
    ids.push_back(id.get<std::int64_t>());
  }
  const json& segments = at(script, "segments");
  if (!segments.is_null() && !segments.is_array()) refuse(file, "'segments' is not a list");
  for (const json& segment : segments) {
    const auto begin = number(segment, "begin");
    const auto end = number(segment, "end");
    if (!begin || !end || *begin < 0 || *end < *begin || *end > static_cast<double>(ids.size())) {
      refuse(file, fmt::format("segment {} does not lie in the script of {} tokens",
                               printable(segment.dump()), ids.size()));
    }
  }
  const json& pieces = at(script, "text_pieces");
  if (!pieces.is_null() && (!pieces.is_array() || pieces.size() != ids.size())) {
    refuse(file, fmt::format("'text_pieces' are not as many as the {} ids", ids.size()));
  }
}

fs::path arm_folder(const fs::path& root, const fs::path& plan_path, const json& arm) {
  const fs::path name = text(arm, "folder");
  const bool inside = !name.empty() && name.is_relative() &&
                      std::none_of(name.begin(), name.end(), [](const fs::path& p) { return p == ".."; });
  if (!inside) {
    refuse(plan_path,
           fmt::format("arm folder '{}' is not inside the result folder", printable(name.string())));
  }
  return root / name;
}

ArmFiles read_arm(const fs::path& root, const fs::path& plan_path, const json& plan) {
  ArmFiles arm;
  arm.plan = plan;
  arm.label = text(plan, "label");
  arm.folder = arm_folder(root, plan_path, plan);
  if (const std::string error = text(plan, "error"); !error.empty()) {
    arm.error = error;
    return arm;
  }
  const fs::path file = arm.folder / arm_file;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    arm.error = fmt::format("it left no {}: it has not run, or ended before it was done", arm_file);
    return arm;
  }
  arm.record = read(file, arm_format);
  arm.ok = text(arm.record, "status") == "ok";
  if (!arm.ok) {
    arm.error = text(arm.record, "error");
    if (arm.error.empty()) arm.error = "it failed without saying why";
  }
  return arm;
}

}  // namespace

ResultFolder read_result_folder(const fs::path& path) {
  ResultFolder folder;
  folder.path = path;
  const fs::path plan_path = path / plan_file;
  folder.plan = read(plan_path, plan_format);
  const json& arms = at(folder.plan, "arms");
  if (!arms.is_array() || arms.empty()) refuse(plan_path, "it has no arms");
  for (const json& arm : arms) folder.arms.push_back(read_arm(path, plan_path, arm));
  const json& reference = at(folder.plan, "reference");
  if (!reference.is_number_integer() || reference.get<std::int64_t>() < 0 ||
      reference.get<std::size_t>() >= folder.arms.size()) {
    refuse(plan_path, fmt::format("'reference' is {}, but there are {} arms", printable(reference.dump()),
                                  folder.arms.size()));
  }
  folder.reference = reference.get<std::size_t>();
  // Without a reference there is nothing to compare with; the report then says so, and needs no script.
  const ArmFiles& first = folder.arms[folder.reference];
  const fs::path script = path / script_file;
  std::error_code ignored;
  // A comparison of training runs scores no script.
  const bool trains = !at(first.record, "training").is_null();
  if (first.ok && (!trains || fs::exists(script, ignored))) {
    folder.script = read(script, script_format);
    check_script(script, folder.script, folder.ids);
  }
  return folder;
}

std::size_t ResultFolder::base_of(std::size_t arm) const {
  const json& other = at(arms.at(arm).plan, "against");
  const bool names_one =
      other.is_number_integer() && other.get<std::int64_t>() >= 0 && other.get<std::size_t>() < arms.size();
  return names_one && arm != reference ? other.get<std::size_t>() : reference;
}

}  // namespace tetrad::parity
