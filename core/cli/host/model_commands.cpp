#include "cli/doctor/machine.h"
#include "cli/host/build_commit.h"
#include "cli/host/commands.h"
#include "cli/launch/engine_environment.h"
#include "cli/launch/engine_path.h"
#include "cli/launch/guarded.h"
#include "cli/launch/prepare.h"
#include "cli/supervise/supervisor.h"
#include "config/emit.h"
#include "runs/folder.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>

namespace tetrad::cli {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

json parse_ids(const std::string& text) {
  json ids = json::array();
  const char* at = text.data();
  const char* end = at + text.size();
  for (;;) {
    std::int64_t id = 0;
    const auto [stop, error] = std::from_chars(at, end, id);
    if (error != std::errc{} || id < 0 || (stop != end && *stop != ',')) {
      throw Error(ExitCode::usage,
                  fmt::format("[cli] --ids: '{}' is not a list of token ids such as 1,2,3", text));
    }
    ids.push_back(id);
    if (stop == end) return ids;
    at = stop + 1;
  }
}

void require_readable(const char* option, const std::string& file) {
  std::error_code failed;
  if (fs::is_directory(file, failed) || ::access(file.c_str(), R_OK) != 0) {
    throw Error(ExitCode::usage, fmt::format("[cli] {}: '{}' is not a file that can be read", option, file));
  }
}

json engine_arguments(const Arguments& a, const std::string& command, const json& config) {
  json args = {{"interactive", ::isatty(STDIN_FILENO) == 1}};
  if (command == "generate") {
    const json& configured = config.at("chat").at("prompt");
    if (!a.prompt && !configured.is_string()) {
      throw Error(ExitCode::usage,
                  "[cli] task generate needs a prompt: set chat.prompt, or use 'host generate --prompt'");
    }
    args["prompt"] = a.prompt ? json(*a.prompt) : configured;
    args["json"] = a.json;
    args["raw"] = a.raw;
    args["repeat"] = a.repeat;
  } else if (command == "logits" || command == "gradients") {
    if (a.prompt) args["prompt"] = *a.prompt;
    if (a.prompt_file) args["prompt_file"] = *a.prompt_file;
    if (a.ids) args["ids"] = parse_ids(*a.ids);
    args["raw"] = a.raw;
    args["out"] = a.out.value();
  } else if (command == "train") {
    args["dry_run"] = a.dry_run;
  } else if (command == "eval") {
    const json& configured = config.at("eval").at("text");
    if (!a.text && !configured.is_string()) {
      throw Error(ExitCode::usage, "[cli] eval needs a text: give --text FILE or set eval.text");
    }
    args["text"] = a.text ? json(*a.text) : configured;
  } else if (command == "bench") {
    args["json"] = a.json;
    if (a.out) args["out"] = fs::absolute(*a.out).string();
    args["machine"] = machine_facts();
    args["versions"] = {{"tetrad", TETRAD_VERSION}, {"commit", build_commit()}};
  }
  return args;
}

void check_inputs(const Arguments& a, const json& args) {
  if (a.prompt_file) require_readable("--prompt-file", *a.prompt_file);
  if (args.contains("text"))
    require_readable(a.text ? "--text" : "eval.text", args.at("text").get<std::string>());
  if (args.contains("out")) {
    const fs::path folder = fs::absolute(args.at("out").get<std::string>()).parent_path();
    if (::access(folder.c_str(), W_OK) != 0) {
      throw Error(ExitCode::usage,
                  fmt::format("[cli] --out: the folder '{}' cannot be written to", folder.string()));
    }
  }
}

std::optional<runs::Folder> store_run(const Prepared& prepared, const RunMessage& run,
                                      const std::vector<std::string>& command_line) {
  const json& parent = prepared.config.at("run").at("dir");
  if (!parent.is_string()) return std::nullopt;
  const std::int64_t now = std::time(nullptr);
  const json description = {{"config", prepared.config},
                            {"config_file", run.config_file},
                            {"config_hash", prepared.hash},
                            {"config_files", prepared.resolved.files},
                            {"overrides", prepared.resolved.sets},
                            {"command", run.command},
                            {"command_line", command_line},
                            {"working_directory", fs::current_path().string()},
                            {"started_utc", runs::utc_stamp(now)},
                            {"versions", {{"tetrad", TETRAD_VERSION}, {"protocol", protocol_version}}},
                            {"plugins", plugin_records(prepared)}};
  return runs::Folder::create(parent.get<std::string>(), runs::run_name(run.config_file), now,
                              {config::to_yaml(prepared.resolved.root), description});
}

// Completes the run's folder and names it in the last line of the run. A run that went well but could not be
// recorded has not gone well.
int close_run(const runs::Folder& folder, runs::Ending ending, runs::Language language) {
  try {
    folder.finish(ending, std::time(nullptr), language);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: [run] the record of this run is incomplete: %s\n", e.what());
    if (ending.exit_code == 0) ending.exit_code = static_cast<int>(ExitCode::runtime);
  }
  std::fprintf(stderr, "[run] folder: %s\n", shown_path(folder.path()).c_str());
  return ending.exit_code;
}

}  // namespace

int run_model_command(const Arguments& arguments, const std::vector<std::string>& command_line) {
  if (arguments.command == "run" && asks_for_parity(arguments))
    return run_parity_command(arguments, command_line);
  const runs::Language language = runs::parse_language(arguments.language);
  for (const std::string& line : arguments.notes) std::fprintf(stderr, "%s\n", line.c_str());
  const Prepared prepared =
      prepare({arguments.configs, arguments.sets, arguments.plugin_paths, arguments.dry_run});
  if (!arguments.script_flags.empty() && !prepared.config.at("chat").at("prompt").is_string()) {
    throw Error(ExitCode::usage,
                fmt::format("[cli] {} belongs to a script of turns, and neither the config nor "
                            "--prompt gives its first message",
                            arguments.script_flags.front()));
  }
  RunMessage run;
  run.command =
      arguments.command == "run" ? prepared.config.at("task").get<std::string>() : arguments.command;
  run.config = prepared.config;
  run.config_file = arguments.configs.back();
  run.config_hash = prepared.hash;
  run.plugins = prepared.plugins;
  run.args = engine_arguments(arguments, run.command, prepared.config);
  check_inputs(arguments, run.args);
  if (run.command == "train") prepare_for_training();

  Supervision supervision = guarded(prepared);
  run.guard_limit_bytes = supervision.limits->limit_bytes;
  if (run.command == "train")
    supervision.term_grace_secs = 600;  // a step and a checkpoint may take that long

  Program engine;
  engine.file = engine_file(arguments.engine);
  const std::optional<runs::Folder> folder = store_run(prepared, run, command_line);
  if (!folder) return supervise(std::move(engine), run, supervision).exit_code;
  run.run_dir = folder->path().string();
  supervision.report_file = (folder->path() / "guard-report.json").string();
  const auto start = std::chrono::steady_clock::now();
  runs::Ending ending;
  try {
    ending = ending_of(supervise(std::move(engine), run, supervision));
  } catch (const Error& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    ending = {"failed", static_cast<int>(e.code()), e.what(), 0, nullptr};
  }
  ending.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return close_run(*folder, std::move(ending), language);
}

}  // namespace tetrad::cli
