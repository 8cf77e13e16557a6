// `host parity`: the arms of a comparison one after another, then what they differ in; `parity show` renders
// a result again, `parity compare` two results. Progress on stderr, results on stdout. Exit codes: 0 pass, 1
// fail or an arm failed, 2 not comparable.
#include "cli/host/commands.h"
#include "cli/launch/guarded.h"
#include "cli/parity/planner.h"
#include "cli/parity/result_folder.h"
#include "cli/parity/runner.h"
#include "config/tree.h"
#include "io/atomic_file.h"
#include "parity/compare/compare.h"
#include "parity/compare/seal.h"
#include "parity/files.h"
#include "parity/report/report.h"
#include "runs/store.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

namespace tetrad::cli {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

std::string dump(const json& value) {
  return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

int columns() {
  constexpr int usual = 100;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return usual;
}

bool colour() {
  return ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
}

// Made again from what the arms left; all its forms are written before anything is shown.
json store_report(const fs::path& folder, runs::Language language) {
  const json report = parity::make_report(folder);
  parity::write_report(folder / parity::report_json_file, report);
  io::write_file(folder / parity::report_csv_file, parity::csv_report(report));
  io::write_file(folder / parity::report_html_file, parity::html_report(report, language));
  return report;
}

void show_report(const json& report, runs::Language language, bool as_json) {
  print(as_json ? dump(report) : parity::terminal_report(report, language, columns(), colour()));
  std::fflush(stdout);  // before what follows on stderr
}

std::string resume_hint(const fs::path& folder) {
  return fmt::format("host parity --resume {}", shown_path(folder));
}

parity::Plan planned(const Arguments& a) {
  PlanRequest request;
  request.configs = a.configs;
  request.one_config = a.command == "run";
  request.sets = a.sets;
  if (a.layers) request.sets.push_back("parity.layers=true");
  if (a.text) request.sets.push_back("parity.text=" + *a.text);
  request.plugin_paths = a.plugin_paths;
  request.sweeps = a.sweeps;
  request.many = a.yes;
  return make_plan(request);
}

int report_of(const parity::Plan& plan, const RunOfArms& run, const fs::path& folder, const Arguments& a,
              runs::Language language) {
  if (run.signal != 0) {
    std::fprintf(stderr, "[parity] %zu of %zu arms are done; go on with: %s\n", run.ok + run.kept,
                 plan.arms.size(), resume_hint(folder).c_str());
    return 128 + run.signal;
  }
  if (run.reference_failed) {
    throw Error(
        fmt::format("[parity] the reference arm '{}' failed, so there is nothing to compare with; when its "
                    "cause is gone: {}",
                    plan.arms[plan.reference].label, resume_hint(folder)));
  }
  const json report = store_report(folder, language);
  show_report(report, language, a.json);
  return report.at("verdict").at("exit_code").get<int>();
}

runs::Ending ending(int code, int signal, const std::string& reason) {
  runs::Ending result;
  result.exit_code = code;
  result.state = signal != 0 ? "interrupted" : code == 0 ? "ok" : "failed";
  result.reason = reason;
  return result;
}

int run_comparison(const Arguments& a, const std::vector<std::string>& command_line) {
  const runs::Language language = runs::parse_language(a.language);
  for (const std::string& line : a.notes) std::fprintf(stderr, "%s\n", line.c_str());
  const auto start = std::chrono::steady_clock::now();
  const fs::path resumed = a.resume.empty() ? fs::path() : fs::absolute(a.resume);
  const fs::path out = a.out ? fs::absolute(*a.out) : fs::path();
  parity::Plan plan;
  std::optional<ResultFolder> folder;
  if (resumed.empty()) {
    plan = planned(a);
    folder.emplace(ResultFolder::create(records_folder(plan), out, plan, command_line));
  } else {
    plan = parity::read_plan(resumed);
    folder.emplace(ResultFolder::open(resumed));
    std::error_code failed;
    fs::current_path(plan.working_directory, failed);  // its paths are relative to it
    if (failed)
      throw Error(ExitCode::usage, fmt::format("[parity] the plan was made in '{}', which is not there",
                                               plan.working_directory));
  }
  std::fprintf(stderr, "[parity] %zu arms; result folder: %s\n", plan.arms.size(),
               shown_path(folder->path()).c_str());
  int signal = 0;
  int code = 0;
  std::string reason;
  try {
    const RunOfArms run = run_arms(plan, folder->path(), a.engine);
    signal = run.signal;
    code = report_of(plan, run, folder->path(), a, language);
  } catch (const Error& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    reason = e.what();
    code = static_cast<int>(e.code());
  }
  runs::Ending end = ending(code, signal, reason);
  end.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  folder->finish(end);
  std::fprintf(stderr, "[parity] %.1f s; result folder: %s\n", end.wall_seconds,
               shown_path(folder->path()).c_str());
  return code;
}

// A result as the user names it: its folder, its report, or a name below the runs folder.
json read_result(const Arguments& a, const std::string& name) {
  std::error_code failed;
  fs::path path = name;
  if (!fs::exists(path, failed) && name.find('/') == std::string::npos)
    path = runs::find_run(a.runs_dir, name);
  if (fs::is_directory(path, failed) && fs::exists(path / parity::plan_file, failed) &&
      !fs::exists(path / parity::report_json_file, failed)) {
    throw Error(ExitCode::usage,
                fmt::format("[parity] the comparison in '{}' did not come to its end; go on with: {}",
                            path.string(), resume_hint(fs::absolute(path).lexically_normal())));
  }
  return parity::read_report(path);
}

int show(const Arguments& a) {
  const runs::Language language = runs::parse_language(a.language);
  const json report = read_result(a, a.files.front());
  if (!a.html.empty()) io::write_file(a.html, parity::html_report(report, language));
  if (!a.csv.empty()) io::write_file(a.csv, parity::csv_report(report));
  if (a.json || (a.html.empty() && a.csv.empty())) show_report(report, language, a.json);
  return 0;
}

int compare(const Arguments& a) {
  const runs::Language language = runs::parse_language(a.language);
  const json change = parity::compare_reports(read_result(a, a.files[0]), read_result(a, a.files[1]));
  print(a.json ? dump(change) : parity::terminal_regression(change, language, columns(), colour()));
  return change.at("exit_code").get<int>();
}

}  // namespace

bool asks_for_parity(const Arguments& arguments) {
  const config::Composed composed = config::compose(arguments.configs, arguments.sets);
  const config::Node* task = composed.root.get("task");
  if (task == nullptr || (task->kind() != config::Kind::string && !task->typed_by_schema())) return false;
  return task->as_string() == "parity";
}

int run_parity_command(const Arguments& arguments, const std::vector<std::string>& command_line) {
  if (arguments.command == "parity show") return show(arguments);
  if (arguments.command == "parity compare") return compare(arguments);
  return run_comparison(arguments, command_line);
}

}  // namespace tetrad::cli
