// `doctor --verify`, the engine's part: runs the groups of check/verify.h, each in a process of its own,
// writes the report and remembers what failed. This process loads nothing of a plugin and leaves libtorch
// alone, so that what it forks is clean.
#include "check/runner.h"
#include "check/verify.h"
#include "cli/doctor/verified.h"
#include "cli/engine/commands.h"
#include "config/option_schema.h"
#include "io/atomic_file.h"
#include "plugin/elf_note.h"
#include "plugin/registry.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace tetrad::cli {
namespace {

using check::Outcome;
using nlohmann::json;

std::vector<check::Target> read_targets(const RunMessage& run, const std::string& device) {
  std::vector<check::Target> targets;
  for (const PluginRef& ref : run.plugins) {
    const plugin::Candidate candidate = plugin::judge_file(ref.file, plugin::PlaceClass::explicit_path);
    if (!candidate.refusal.empty()) continue;  // `plugins list` says why; no run would take it
    check::Target target;
    target.id = candidate.id;
    target.file = candidate.file;
    target.kinds = candidate.metadata->kinds;
    target.device = device;
    for (const std::string& kind : target.kinds)
      target.options[kind] = config::options_from_json(run.args.at("options").at(ref.id).at(kind));
    const auto linear = target.options.find("linear");
    target.contract = check::read_contract(candidate.metadata->capabilities, candidate.metadata->numerics,
                                           linear == target.options.end() ? Options() : linear->second,
                                           target.cuda() ? "cuda" : "cpu");
    targets.push_back(std::move(target));
  }
  return targets;
}

// What came of a group's kernels; one that ended by itself tells, another one's kernels all share its end.
json kernel_results(const check::VerifyGroup& group, const Outcome& outcome) {
  if (outcome.verdict == check::Verdict::pass) return outcome.figures.at("kernels");
  json results = json::array();
  for (const std::string& kernel : group.kernels) {
    results.push_back({{"kernel", kernel},
                       {"verdict", check::verdict_name(outcome.verdict)},
                       {"detail", outcome.detail},
                       {"seconds", outcome.seconds}});
  }
  return results;
}

void print_line(bool as_json, const json& result) {
  if (as_json) return;
  fmt::print("{:<5} {:<16} {:<28} {:6.2f} s  {}\n", result.at("verdict").get<std::string>(),
             result.at("owner").get<std::string>(), result.at("kernel").get<std::string>(),
             result.at("seconds").get<double>(), result.at("detail").get<std::string>());
  std::fflush(stdout);
}

}  // namespace

int run_verify(Control& control) {
  const RunMessage& run = control.run();
  const bool as_json = run.args.value("json", false);
  const auto start = std::chrono::steady_clock::now();
  // All of it ends within this, whatever hangs.
  const double deadline_secs = run.args.value("timeout_secs", 60.0);
  const auto left = [&] {
    const std::chrono::duration<double> gone = std::chrono::steady_clock::now() - start;
    return std::max(1.0, deadline_secs - gone.count());
  };

  const Outcome found = check::run_isolated(check::device_case(run.args.value("device", "auto")), left());
  if (found.verdict != check::Verdict::pass)
    throw Error("[verify] the device cannot be used: " + found.detail);
  const auto device = found.figures.at("device").get<std::string>();
  const auto torch_device = found.figures.at("torch_device").get<std::string>();
  if (!as_json) fmt::print("device {} ({})\n", device, torch_device);

  const std::vector<check::Target> targets = read_targets(run, torch_device);
  json results = json::array();
  std::vector<FailedKernel> failed;
  for (const check::VerifyGroup& group : check::verify_groups(targets, torch_device)) {
    const Outcome outcome = check::run_isolated(group.run, left());
    // A process that died could not say whose build it was: ask the file.
    std::string build_id = outcome.figures.value("build_id", "");
    if (build_id.empty()) {
      build_id = plugin::own_build_id();
      for (const check::Target& target : targets)
        if (target.id == group.owner) build_id = check::plugin_build_id(target);
    }
    for (json result : kernel_results(group, outcome)) {
      result["owner"] = group.owner;
      result["build_id"] = build_id;
      print_line(as_json, result);
      const auto verdict = result.at("verdict").get<std::string>();
      if (verdict != "pass" && verdict != "skip")
        failed.push_back({group.owner, build_id, result.at("kernel").get<std::string>(), verdict,
                          result.at("detail").get<std::string>()});
      results.push_back(std::move(result));
    }
  }

  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  json report = run.args.value("facts", json::object());
  report["verify"] = {{"device", device},
                      {"torch_device", torch_device},
                      {"time", run.args.value("time", "")},
                      {"seconds", seconds.count()},
                      {"verdict", failed.empty() ? "pass" : "fail"},
                      {"kernels", results}};
  const std::string text = report.dump(2, ' ', false, json::error_handler_t::replace);
  const auto out = run.args.value("out", "");
  io::write_file(out, text + "\n");
  const std::string state = run.args.value("state", "");
  if (!state.empty()) record_verification(state, device, run.args.value("time", ""), out, failed);
  if (as_json) {
    fmt::print("{}\n", text);
  } else if (failed.empty()) {
    fmt::print("verdict: pass: {} kernels in {:.0f} s; report: {}\n", results.size(), seconds.count(), out);
  } else {
    fmt::print("verdict: fail: {} of {} kernels; report: {}\n{}", failed.size(), results.size(), out,
               state.empty() ? "" : "Runs on this device refuse them from now on (" + state + ").\n");
  }
  return static_cast<int>(failed.empty() ? ExitCode::ok : ExitCode::plugin_refused);
}

}  // namespace tetrad::cli
