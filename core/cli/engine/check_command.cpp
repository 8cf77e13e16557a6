// `plugins check`, the engine's part: runs the cases of one plugin, each in a process of its own, and says
// what came of each as soon as it is known. This process loads nothing of the plugin and leaves libtorch
// alone, so that what it forks is clean.
#include "check/runner.h"
#include "check/suite.h"
#include "cli/engine/commands.h"
#include "config/option_schema.h"
#include "plugin/registry.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <tetrad/base/error.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

namespace tetrad::cli {
namespace {

using check::Case;
using check::Outcome;
using nlohmann::json;

check::Target read_target(const RunMessage& run) {
  if (run.plugins.size() != 1) throw Error("[check] host named no plugin to check");
  const plugin::Candidate candidate =
      plugin::judge_file(run.plugins.front().file, plugin::PlaceClass::explicit_path);
  if (!candidate.refusal.empty())
    throw Error(ExitCode::plugin_refused, "[plugin] " + candidate.describe_refusal());
  check::Target target;
  target.id = candidate.id;
  target.file = candidate.file;
  target.kinds = candidate.metadata->kinds;
  target.device = run.args.value("device", "cpu");
  for (const std::string& kind : target.kinds)
    target.options[kind] = config::options_from_json(run.args.at("options").at(kind));
  const auto linear = target.options.find("linear");  // whose options say how it encodes
  target.contract = check::read_contract(candidate.metadata->capabilities, candidate.metadata->numerics,
                                         linear == target.options.end() ? Options() : linear->second,
                                         target.cuda() ? "cuda" : "cpu");
  return target;
}

std::vector<Case> chosen_cases(const check::Target& target, const json& patterns) {
  std::vector<Case> cases = check::cases_for(target);
  if (patterns.empty()) return cases;
  std::vector<Case> chosen;
  for (Case& each : cases) {
    const bool wanted = std::any_of(patterns.begin(), patterns.end(), [&](const json& pattern) {
      return ::fnmatch(pattern.get<std::string>().c_str(), each.name.c_str(), 0) == 0;
    });
    if (wanted) chosen.push_back(std::move(each));
  }
  if (chosen.empty()) {
    std::string names;
    for (const Case& each : check::cases_for(target)) names += (names.empty() ? "" : ", ") + each.name;
    throw Error(ExitCode::usage, "[check] --case matches none of this plugin's cases: " + names);
  }
  return chosen;
}

void print_line(const std::string& name, const Outcome& outcome) {
  const std::string verdict = check::verdict_name(outcome.verdict);
  std::string line =
      fmt::format("{:<5} {:<45} {:6.2f} s  {}\n", verdict, name, outcome.seconds, outcome.detail);
  if (!outcome.good() && !outcome.log.empty()) {
    std::string log = outcome.log;
    for (std::size_t at = 0; (at = log.find('\n', at)) != std::string::npos; at += 9)
      log.replace(at, 1, "\n      | ");
    line += "      | " + log + "\n";
  }
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

json case_json(const std::string& name, const Outcome& outcome) {
  return {{"name", name},
          {"verdict", check::verdict_name(outcome.verdict)},
          {"detail", outcome.detail},
          {"seconds", outcome.seconds},
          {"figures", outcome.figures},
          {"log", outcome.log}};
}

}  // namespace

int run_check(Control& control) {
  const RunMessage& run = control.run();
  const check::Target target = read_target(run);
  const bool as_json = run.args.value("json", false);
  const double deadline = run.args.value("timeout_secs", 60.0);
  const std::vector<Case> cases = chosen_cases(target, run.args.value("cases", json::array()));
  const PluginRef& ref = run.plugins.front();
  if (!as_json) {
    fmt::print("plugin {} {} (file {}), device {}, options {}\n", target.id, ref.version,
               target.file.string(), target.device, run.args.at("options").dump());
  }

  json results = json::array(), failed = json::array();
  int skipped = 0;
  std::string cut;
  for (const Case& each : cases) {
    const Outcome outcome = check::run_isolated(each, deadline);
    if (!as_json) print_line(each.name, outcome);
    results.push_back(case_json(each.name, outcome));
    skipped += outcome.verdict == check::Verdict::skip ? 1 : 0;
    if (outcome.good()) continue;
    failed.push_back(each.name);
    if (each.name == "open") {
      cut = "; the others were not run, because it cannot be opened";
      break;
    }
  }

  const bool good = failed.empty();
  if (as_json) {
    const json document = {{"plugin", target.id},
                           {"version", ref.version},
                           {"file", target.file.string()},
                           {"kinds", target.kinds},
                           {"device", target.device},
                           {"options", run.args.at("options")},
                           {"verdict", good ? "pass" : "fail"},
                           {"failed", failed},
                           {"skipped", skipped},
                           {"cases", results}};
    fmt::print("{}\n", document.dump(2, ' ', false, json::error_handler_t::replace));
  } else if (good) {
    fmt::print("verdict: pass: {} cases{}\n", results.size(),
               skipped > 0 ? fmt::format(", {} skipped", skipped) : "");
  } else {
    fmt::print("verdict: fail: {} of {} cases{}\n", failed.size(), results.size(), cut);
  }
  return static_cast<int>(good ? ExitCode::ok : ExitCode::plugin_refused);
}

}  // namespace tetrad::cli
