#include "cli/doctor/engine_facts.h"
#include "cli/doctor/gpu.h"
#include "cli/doctor/guard_facts.h"
#include "cli/doctor/machine.h"
#include "cli/doctor/verified.h"
#include "cli/host/commands.h"
#include "cli/launch/engine_path.h"
#include "cli/launch/option_arguments.h"
#include "cli/launch/prepare.h"
#include "guard/tree.h"
#include "plugin/commands.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>

namespace tetrad::cli {

using nlohmann::json;

namespace {

// Both probes run at the same time and share one deadline, so that the whole answer stays under two seconds.
constexpr double probe_secs = 1.6;

std::string size(const json& bytes) {
  return bytes.is_null() ? "unknown" : guard::format_gib(bytes.get<std::uint64_t>());
}

std::string word(const json& value) {
  if (value.is_null()) return "unknown";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

json engine_part(const std::string& file, const EngineAnswer& answer) {
  json part = {{"file", file}, {"problem", nullptr}};
  if (answer.details) {
    part.update(*answer.details);
  } else {
    part["problem"] = answer.problem;
  }
  return part;
}

json collect_facts(const Arguments& arguments) {
  const std::int64_t deadline = guard::monotonic_ns() + static_cast<std::int64_t>(probe_secs * 1e9);
  Probe gpu("nvidia-smi", gpu_query());
  std::string file = arguments.engine;
  std::optional<EngineQuestion> question;
  EngineAnswer answer;
  try {
    file = engine_file(arguments.engine);
    RunMessage run;
    run.command = "doctor";
    question.emplace(file, run);
  } catch (const Error& e) {
    answer.problem = e.what();
  }

  json facts = {{"version", TETRAD_VERSION}, {"machine", machine_facts()}};
  const plugin::Registry registry = open_registry(arguments.plugin_paths, {}, {});
  facts["plugins"] = json::array();
  for (const plugin::Candidate& candidate : registry.candidates()) {
    facts["plugins"].push_back(plugin::candidate_json(candidate));
  }
  if (question) answer = question->collect(deadline);
  facts["engine"] = engine_part(file, answer);
  facts["gpu"] = gpu_facts(gpu.collect(deadline));
  facts["guard"] =
      guard_facts(choose_sensors(registry, {}), std::max(deadline, guard::monotonic_ns() + 300'000'000));
  return facts;
}

void print_machine(const json& machine) {
  const json& cpu = machine.at("cpu");
  std::string features;
  for (const json& feature : cpu.at("features")) features += " " + feature.get<std::string>();
  fmt::print("system   {}, {}, {}\n", word(machine.at("os")), word(machine.value("kernel", json())),
             word(machine.value("architecture", json())));
  fmt::print("cpu      {}, {} cores:{}\n", word(cpu.at("model")), word(cpu.at("cores")), features);
  const json& memory = machine.at("memory");
  fmt::print("memory   {}, {} available{}\n", size(memory.at("total_bytes")),
             size(memory.at("available_bytes")),
             memory.at("cgroup_limit_bytes").is_null()
                 ? ""
                 : fmt::format(", limited to {} by a control group", size(memory.at("cgroup_limit_bytes"))));
}

void print_gpus(const json& gpu) {
  if (gpu.at("gpus").empty()) {
    fmt::print("gpu      none{}\n", gpu.at("problem").is_null() ? "" : ": " + word(gpu.at("problem")));
  }
  for (const json& one : gpu.at("gpus")) {
    fmt::print("gpu {}    {}, compute capability {}, driver {}, memory {}, free {}\n", word(one.at("index")),
               word(one.at("name")), word(one.at("compute_capability")), word(one.at("driver")),
               size(one.at("memory_total_bytes")), size(one.at("memory_free_bytes")));
  }
}

void print_engine(const json& engine) {
  if (!engine.at("problem").is_null()) {
    fmt::print("engine   not usable: {}\n", word(engine.at("problem")));
    return;
  }
  fmt::print("engine   {}\n", word(engine.at("file")));
  for (const auto& [key, value] : engine.items()) {
    if (key == "file" || key == "problem") continue;
    if (!value.is_array()) {
      fmt::print("         {}: {}\n", key, word(value));
      continue;
    }
    fmt::print("         {}:\n", key);
    for (const json& item : value) fmt::print("           {}\n", word(item));
  }
}

void print_guard(const json& guard) {
  fmt::print("guard    limit_gb: auto is {}\n", size(guard.at("auto_limit_bytes")));
  for (const json& sensor : guard.at("sensors")) {
    const bool good = sensor.at("problem").is_null();
    fmt::print("         sensor {}: {}\n", word(sensor.at("id")),
               word(sensor.at(good ? "evidence" : "problem")));
  }
  fmt::print("         control group: {}\n", guard.at("control_group").is_null()
                                                 ? "none, " + word(guard.at("control_group_problem")) +
                                                       "; processes are followed through /proc"
                                                 : "may be made below " + word(guard.at("control_group")));
  fmt::print("         locked in memory: {}, raised priority: {}, spared by the kernel's killer: {}\n",
             guard.at("locked").get<bool>() ? "yes" : "no",
             guard.at("prioritised").get<bool>() ? "yes" : "no",
             guard.at("spared_by_oom").get<bool>() ? "yes" : "no");
  for (const json& refused : guard.at("refused")) fmt::print("         not permitted: {}\n", word(refused));
}

void print_plugins(const json& plugins) {
  if (plugins.empty())
    fmt::print("plugins  none found; 'host plugins list' shows where they were looked for\n");
  for (const json& plugin : plugins) {
    fmt::print("plugin   {} {}: {}\n", word(plugin.value("id", json())),
               word(plugin.value("version", json())), word(plugin.value("verdict", json())));
  }
}

// The engine runs the cases, under the guard: what is being verified may be broken in any way.
int verify(const Arguments& arguments) {
  const plugin::Registry registry = open_registry(arguments.plugin_paths, {}, {});
  RunMessage run;
  run.command = "verify";
  json options = json::object(), facts = collect_facts(arguments);
  facts.erase("engine");  // the files of another process
  for (const plugin::Candidate& candidate : registry.candidates()) {
    if (!candidate.usable()) continue;
    const auto& kinds = candidate.metadata->kinds;
    const bool checked = std::any_of(kinds.begin(), kinds.end(), [](const std::string& kind) {
      return kind == "linear" || kind == "kv_cache";
    });
    if (!checked) continue;
    try {
      options[candidate.id] = read_option_arguments(*candidate.metadata, {});
    } catch (const Error& error) {  // an option without a default: nobody says what to verify
      fmt::print(stderr, "[verify] plugin {} is left out: {}\n", candidate.id, error.what());
      continue;
    }
    run.plugins.push_back({kinds.front(), candidate.id, candidate.file.string(), candidate.metadata->version,
                           candidate.metadata->to_json()});
  }
  char time[32];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%SZ", &utc);
  run.args = {{"device", arguments.device},
              {"options", options},
              {"facts", facts},
              {"time", time},
              {"out", std::filesystem::absolute(arguments.out.value_or("tetrad-verify.json")).string()},
              {"state", verified_file().string()},
              {"timeout_secs", arguments.timeout_secs},
              {"json", arguments.json}};
  return judge_in_engine(arguments, std::move(run));
}

}  // namespace

int run_doctor_command(const Arguments& arguments) {
  if (arguments.verify) return verify(arguments);
  const json facts = collect_facts(arguments);
  if (arguments.json) {
    fmt::print("{}\n", facts.dump(2, ' ', false, json::error_handler_t::replace));
    return 0;
  }
  print_machine(facts.at("machine"));
  print_gpus(facts.at("gpu"));
  print_guard(facts.at("guard"));
  print_plugins(facts.at("plugins"));
  print_engine(facts.at("engine"));
  return 0;
}

}  // namespace tetrad::cli
