#include "cli/parity/planner.h"

#include "parity/files.h"
#include "parity/plan/labels.h"
#include "parity/plan/settings.h"
#include "runs/folder.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>

namespace tetrad::cli {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// One arm to be: which files, which values.
struct Draft {
  std::vector<std::string> files;
  parity::Combination combination;
};

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ExitCode::usage, "[parity] " + what);
}

// The sweep of one config (or several merged into one), with --sweep on top.
parity::Sweep sweep_of(const std::vector<std::string>& files, const PlanRequest& request) {
  const config::Composed composed = config::compose(files, request.sets);
  config::Diagnostics diagnostics;
  parity::Sweep sweep = parity::read_sweep(config::find_path(composed.root, "parity.sweep"), diagnostics);
  composed.diagnostics.throw_if_errors();
  diagnostics.throw_if_errors();
  for (const std::string& argument : request.sweeps) parity::add_sweep_argument(sweep, argument);
  return sweep;
}

void require_allowed(std::uint64_t count, const char* what, bool many) {
  if (count > most_arms)
    refuse(fmt::format("the sweep has {} {}; at most {} can be planned", count, what, most_arms));
  if (count > most_arms_unasked && !many) {
    refuse(fmt::format("the sweep has {} {}; more than {} are run only with --yes (each is a run of its own)",
                       count, what, most_arms_unasked));
  }
}

std::vector<Draft> draft_arms(const PlanRequest& request, std::set<std::string>& swept) {
  std::vector<std::vector<std::string>> groups;
  if (request.one_config) {
    groups.push_back(request.configs);
  } else {
    for (const std::string& file : request.configs) groups.push_back({file});
  }
  std::vector<Draft> drafts;
  std::uint64_t combinations = 0;
  for (const auto& files : groups) {
    const parity::Sweep sweep = sweep_of(files, request);
    const std::uint64_t count = parity::count_combinations(sweep);
    // Nothing is held in memory before this is known to be small; exclusions are judged below.
    combinations = count > most_arms ? count : combinations + count;
    if (combinations > most_arms || (combinations > most_arms_unasked && sweep.exclude.empty()))
      require_allowed(combinations, "arms", request.many);
    for (const auto* axes : {&sweep.matrix, &sweep.zip}) {
      for (const parity::Axis& axis : *axes) swept.insert(axis.key);
    }
    for (parity::Combination& combination : parity::expand(sweep)) {
      for (const parity::Assignment& a : combination.values) swept.insert(a.key);
      drafts.push_back({files, std::move(combination)});
    }
  }
  require_allowed(drafts.size(), "arms", request.many);
  if (drafts.empty()) refuse("the sweep excludes every arm");
  return drafts;
}

std::vector<std::string> sets_of(const std::vector<std::string>& common, const parity::Combination& arm) {
  std::vector<std::string> sets = common;
  for (const parity::Assignment& a : arm.values) sets.push_back(a.set_argument());
  return sets;
}

// The sweep is the plan's, not the arm's: arms with the same settings have the same hash whatever else was
// swept.
json arm_config(const Prepared& prepared) {
  json config = prepared.config;
  json& sweep = config.at("parity").at("sweep");
  for (const char* map : {"matrix", "zip"}) sweep[map] = json::object();
  for (const char* list : {"include", "exclude"}) sweep[list] = json::array();
  return config;
}

std::string absolute(const std::string& file) {
  std::error_code failed;
  const fs::path path = fs::absolute(file, failed);
  return failed ? file : path.lexically_normal().string();
}

void require_text(const fs::path& file) {
  std::error_code failed;
  std::ifstream in(file, std::ios::binary);
  if (fs::is_directory(file, failed) || !in)
    refuse(fmt::format("parity.text: '{}' is not a file that can be read", file.string()));
  for (char c = 0; in.get(c);) {
    if (std::string_view(" \t\r\n").find(c) == std::string_view::npos) return;
  }
  refuse(fmt::format("parity.text: '{}' is empty: there is no text whose perplexity could be measured",
                     file.string()));
}

// What the schema cannot see, before anything runs.
void check_arms(const parity::Plan& plan) {
  std::set<fs::path> texts;
  bool training = false;
  bool talking = false;
  for (const parity::Arm& arm : plan.arms) {
    if (arm.error) continue;
    const parity::Settings settings = parity::read_settings(arm.config.at("parity"));
    (settings.train_steps > 0 ? training : talking) = true;
    if (settings.text && texts.insert(*settings.text).second) require_text(*settings.text);
    if (!settings.logits_file) continue;
    if (settings.train_steps > 0)
      refuse(fmt::format("arm '{}': a file of logits cannot be trained (parity.train_steps)", arm.label));
    if (::access(settings.logits_file->c_str(), R_OK) != 0) {
      refuse(
          fmt::format("arm '{}': the file of logits '{}' is not there; scripts/write_transformers_logits.py "
                      "writes one",
                      arm.label, settings.logits_file->string()));
    }
  }
  if (training && talking)
    refuse("parity.train_steps is 0 for some arms and above 0 for others: they cannot be compared");
}

std::string plan_name(const PlanRequest& request) {
  const std::string first = runs::run_name(request.configs.front());
  if (request.one_config) return runs::run_name(request.configs.back());
  return request.configs.size() == 2 ? first + "-vs-" + runs::run_name(request.configs.back()) : first;
}

}  // namespace

parity::Plan make_plan(const PlanRequest& request) {
  std::set<std::string> swept;
  const std::vector<Draft> drafts = draft_arms(request, swept);
  parity::Plan plan;
  plan.name = plan_name(request);
  plan.created_utc = runs::utc_stamp(std::time(nullptr));
  plan.swept.assign(swept.begin(), swept.end());
  plan.several_configs = !request.one_config && request.configs.size() > 1;
  plan.sets = request.sets;
  for (const std::string& folder : request.plugin_paths) plan.plugin_paths.push_back(absolute(folder));
  plan.working_directory = fs::current_path().string();

  std::vector<parity::Named> named;
  for (const Draft& draft : drafts)
    named.push_back({plan.several_configs ? draft.files.front() : "", draft.combination});
  const std::vector<std::string> labels = parity::make_labels(named);

  config::Diagnostics errors;
  std::set<std::string> warnings;
  for (std::size_t i = 0; i < drafts.size(); ++i) {
    parity::Arm arm;
    arm.index = i;
    arm.label = labels[i];
    arm.folder = std::string(parity::arms_folder) + "/" + parity::make_slug(i, labels[i]);
    for (const std::string& file : drafts[i].files) arm.config_files.push_back(absolute(file));
    arm.combination = drafts[i].combination;
    try {
      const Prepared prepared = prepare({drafts[i].files, sets_of(plan.sets, arm.combination),
                                         request.plugin_paths, false, /*quiet=*/true});
      arm.config = arm_config(prepared);
      arm.config_hash = sha256_hex(arm.config.dump());
      for (const config::Diagnostic& warning : prepared.resolved.warnings)
        warnings.insert(warning.to_string());
    } catch (const config::ConfigError& e) {
      arm.error = e.what();
      arm.error_code = static_cast<int>(e.code());
      if (e.code() != ExitCode::plugin_refused) {
        for (const config::Diagnostic& error : e.errors())
          errors.error(error.where, error.message, error.code);
      }
    } catch (const Error& e) {
      if (e.code() != ExitCode::plugin_refused) throw;
      arm.error = e.what();
      arm.error_code = static_cast<int>(e.code());
    }
    plan.arms.push_back(std::move(arm));
  }
  errors.throw_if_errors();
  for (const std::string& warning : warnings) std::fprintf(stderr, "%s\n", warning.c_str());

  const auto good =
      std::find_if(plan.arms.begin(), plan.arms.end(), [](const auto& arm) { return !arm.error; });
  if (good == plan.arms.end())
    throw Error(ExitCode::plugin_refused,
                fmt::format("[parity] no arm can be run: {}", plan.arms.front().error.value()));
  const json& settings = good->config.at("parity");
  if (plan.arms.size() < 2 && settings.at("iterations") == 1) {
    refuse(
        "one arm alone cannot be compared: give a second --config, or a sweep (parity.sweep in the config, "
        "or --sweep KEY=VALUE,VALUE)");
  }
  plan.reference = parity::find_arm(plan.arms, settings.at("reference"));
  const parity::Arm& reference = plan.arms[plan.reference];
  if (reference.error) {
    throw Error(ExitCode::plugin_refused, fmt::format("[parity] the reference arm '{}' cannot be run: {}",
                                                      reference.label, *reference.error));
  }
  check_arms(plan);
  parity::compare_configs(plan);
  return plan;
}

Prepared prepare_arm(const parity::Plan& plan, const parity::Arm& arm) {
  Prepared prepared = prepare(
      {arm.config_files, sets_of(plan.sets, arm.combination), plan.plugin_paths, false, /*quiet=*/true});
  prepared.config = arm_config(prepared);
  prepared.hash = sha256_hex(prepared.config.dump());
  if (prepared.hash == arm.config_hash) return prepared;
  const std::vector<parity::Difference> changed =
      parity::differing_keys(arm.config, prepared.config, {{}, false});
  refuse(fmt::format("the config of arm '{}' is no longer what was planned{}; start the comparison anew",
                     arm.label,
                     changed.empty() ? std::string()
                                     : fmt::format(": {} was {} and is {}", changed.front().key,
                                                   changed.front().a.dump(), changed.front().b.dump())));
}

std::string records_folder(const parity::Plan& plan) {
  const json& folder = plan.arms[plan.reference].config.at("run").at("dir");
  return folder.is_string() ? folder.get<std::string>() : "";
}

}  // namespace tetrad::cli
