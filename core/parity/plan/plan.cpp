#include "parity/plan/plan.h"

#include "io/json.h"
#include "parity/files.h"

#include <tetrad/base/error.h>

#include <fmt/format.h>
#include <algorithm>
#include <charconv>

namespace tetrad::parity {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

json values_of(const Combination& combination) {
  json values = json::object();
  for (const Assignment& a : combination.values) values[a.key] = a.value;
  return values;
}

json to_json(const Arm& arm) {
  json sets = json::array();
  for (const Assignment& a : arm.combination.values) sets.push_back(a.set_argument());
  json differs = json::array();
  for (const Difference& d : arm.differs)
    differs.push_back({{"key", d.key}, {"a", d.a}, {"b", d.b}, {"swept", d.swept}});
  return {{"index", arm.index},
          {"label", arm.label},
          {"folder", arm.folder},
          {"sets", std::move(sets)},
          {"values", values_of(arm.combination)},
          {"config_files", arm.config_files},
          {"config_hash", arm.config_hash},
          {"config", arm.config},
          {"against", arm.against ? json(*arm.against) : json()},
          {"differs", std::move(differs)},
          {"error", arm.error ? json(*arm.error) : json()},
          {"error_code", arm.error_code}};
}

bool is_arm_folder(const std::string& folder) {
  const fs::path path(folder);
  if (path.is_absolute() || std::distance(path.begin(), path.end()) != 2) return false;
  const std::string last = path.filename().string();
  return *path.begin() == arms_folder && last != "." && last != ".." && !last.empty();
}

Arm arm_from(const json& value, std::size_t index) {
  Arm arm;
  arm.index = value.at("index").get<std::size_t>();
  if (arm.index != index) throw Error("its arms are not numbered from 0");
  arm.label = value.at("label").get<std::string>();
  arm.folder = value.at("folder").get<std::string>();
  if (!is_arm_folder(arm.folder)) throw Error(fmt::format("the folder '{}' is not below arms/", arm.folder));
  arm.config_files = value.at("config_files").get<std::vector<std::string>>();
  for (const auto& item : value.at("values").items())
    arm.combination.values.push_back({item.key(), item.value()});
  arm.config_hash = value.at("config_hash").get<std::string>();
  arm.config = value.at("config");
  if (value.at("error").is_string()) arm.error = value.at("error").get<std::string>();
  if (!arm.error && !arm.config.is_object()) throw Error(fmt::format("arm {} has no config", index));
  arm.error_code = value.at("error_code").get<int>();
  if (!value.at("against").is_null()) arm.against = value.at("against").get<std::size_t>();
  for (const json& d : value.at("differs"))
    arm.differs.push_back({d.at("key").get<std::string>(), d.at("a"), d.at("b"), d.at("swept").get<bool>()});
  return arm;
}

}  // namespace

bool Arm::is_file() const {
  return config.is_object() && config.at("parity").at("logits_file").is_string();
}

std::size_t find_arm(const std::vector<Arm>& arms, const json& wanted, const char* key) {
  if (!wanted.is_string()) return 0;
  const auto name = wanted.get<std::string>();
  std::string labels;
  for (const Arm& arm : arms) {
    if (arm.label == name) return arm.index;
    constexpr std::size_t most = 20;
    if (arm.index < most) labels += fmt::format("\n  {}  {}", arm.index, arm.label);
  }
  std::size_t index = 0;
  const char* end = name.data() + name.size();
  const auto [stop, failed] = std::from_chars(name.data(), end, index);
  if (failed == std::errc{} && stop == end && index < arms.size()) return index;
  throw Error(ExitCode::usage,
              fmt::format("[parity] {}: no arm is called '{}'; the arms are:{}", key, name, labels));
}

void compare_configs(Plan& plan) {
  const Arm& reference = plan.arms.at(plan.reference);
  plan.settings = reference.config.at("parity");
  for (Arm& arm : plan.arms) {
    arm.differs.clear();
    arm.against.reset();
    if (arm.error) continue;
    const json& wanted = arm.config.at("parity").at("against");
    if (wanted.is_string() && arm.index != plan.reference) {
      arm.against = find_arm(plan.arms, wanted, "parity.against");
      const Arm& other = plan.arms[*arm.against];
      if (other.error) {
        throw Error(ExitCode::usage, fmt::format("[parity] parity.against of arm '{}': '{}' cannot be run",
                                                 arm.label, other.label));
      }
    }
    arm.differs = differing_keys(plan.arms[arm.against.value_or(plan.reference)].config, arm.config,
                                 {plan.swept, plan.several_configs});
  }
}

json to_json(const Plan& plan) {
  json arms = json::array();
  for (const Arm& arm : plan.arms) arms.push_back(to_json(arm));
  return {{"format", plan_format},
          {"version", format_version},
          {"name", plan.name},
          {"created_utc", plan.created_utc},
          {"settings", plan.settings},
          {"swept", plan.swept},
          {"several_configs", plan.several_configs},
          {"reference", plan.reference},
          {"arms", std::move(arms)},
          {"sets", plan.sets},
          {"plugin_paths", plan.plugin_paths},
          {"working_directory", plan.working_directory}};
}

Plan read_plan(const fs::path& result_folder) {
  const fs::path file = result_folder / plan_file;
  const auto refuse = [&](const std::string& why) {
    throw Error(ExitCode::usage, fmt::format("[parity] '{}' is not a usable plan: {}", file.string(), why));
  };
  std::error_code failed;
  if (!fs::is_regular_file(file, failed)) {
    throw Error(ExitCode::usage, fmt::format("[parity] '{}' is not the folder of a comparison: it has no {}",
                                             result_folder.string(), plan_file));
  }
  Plan plan;
  try {
    constexpr std::size_t most_bytes = std::size_t{1} << 30;
    const json value = io::read_json(file, {most_bytes, 64, std::size_t{64} << 20});
    if (value.at("format") != plan_format) throw Error("it has another format");
    if (value.at("version") != format_version)
      throw Error(
          fmt::format("version {} where this program knows {}", value.at("version").dump(), format_version));
    plan.name = value.at("name").get<std::string>();
    plan.created_utc = value.at("created_utc").get<std::string>();
    plan.settings = value.at("settings");
    plan.swept = value.at("swept").get<std::vector<std::string>>();
    plan.several_configs = value.at("several_configs").get<bool>();
    plan.reference = value.at("reference").get<std::size_t>();
    for (const json& arm : value.at("arms")) plan.arms.push_back(arm_from(arm, plan.arms.size()));
    plan.sets = value.at("sets").get<std::vector<std::string>>();
    plan.plugin_paths = value.at("plugin_paths").get<std::vector<std::string>>();
    plan.working_directory = value.at("working_directory").get<std::string>();
    if (plan.reference >= plan.arms.size()) throw Error("its reference is not one of its arms");
    for (const Arm& arm : plan.arms) {
      if (arm.against && *arm.against >= plan.arms.size())
        throw Error(fmt::format("arm {} is compared with {}", arm.index, *arm.against));
    }
  } catch (const json::exception& e) {
    refuse(e.what());
  } catch (const Error& e) {
    refuse(e.what());
  }
  return plan;
}

}  // namespace tetrad::parity
