#include "cli/doctor/engine_facts.h"
#include "cli/host/commands.h"
#include "cli/launch/engine_path.h"
#include "cli/launch/option_arguments.h"
#include "cli/launch/prepare.h"
#include "guard/tree.h"
#include "plugin/commands.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cstdlib>
#include <iostream>
#include <sstream>

namespace tetrad::cli {

using nlohmann::json;

namespace {

// Loading libtorch and opening every candidate takes about a second.
constexpr double why_secs = 20;
// The kind whose plugins answer for a device; a KV policy's claims are all static.
constexpr const char* answering_kind = "linear";

// What every usable candidate of the kind says itself, loaded in the engine.
EngineAnswer ask_plugins(const Arguments& arguments, const plugin::Registry& registry) {
  RunMessage run;
  run.command = "why";
  run.args = {{"device", arguments.device}};
  for (const plugin::Candidate& candidate : registry.candidates()) {
    if (!candidate.usable() || !candidate.metadata->has_kind(answering_kind)) continue;
    run.plugins.push_back({answering_kind, candidate.id, candidate.file.string(), candidate.metadata->version,
                           candidate.metadata->to_json()});
  }
  try {
    EngineQuestion question(engine_file(arguments.engine), run);
    return question.collect(guard::monotonic_ns() + static_cast<std::int64_t>(why_secs * 1e9));
  } catch (const Error& e) {
    return {std::nullopt, e.what()};
  }
}

void print_answers(const EngineAnswer& answer) {
  if (!answer.details) {
    fmt::print("what the plugins say here: unknown: {}\n", answer.problem);
    return;
  }
  fmt::print("what the plugins say here:\n");
  for (const json& one : answer.details->value("answers", json::array())) {
    const std::string reason = one.value("reason", "");
    fmt::print("  {} on {}, path {}: {}{}{}\n", one.value("id", "?"), one.value("device", "?"),
               one.value("path", "?"), one.value("support", "?"),
               one.contains("compute") ? " (" + one.value("compute", "") + ")" : "",
               reason.empty() ? "" : ": " + reason);
  }
}

int why(const Arguments& arguments, const plugin::Registry& registry,
        const std::optional<std::string>& chosen) {
  std::ostringstream claims;
  const int code = plugin::command_why(registry, arguments.plugin, chosen, claims, arguments.json);
  if (arguments.plugin != answering_kind || arguments.no_engine) {
    std::cout << claims.str();
    return code;
  }
  const EngineAnswer answer = ask_plugins(arguments, registry);
  if (!arguments.json) {
    std::cout << claims.str() << std::flush;
    print_answers(answer);
    return code;
  }
  json document = json::parse(claims.str());
  document["engine"] = answer.details ? *answer.details : json{{"problem", answer.problem}};
  std::cout << document.dump(2) << '\n';
  return code;
}

// Judges the file and the options here; the engine runs the cases, under the guard, because nobody knows yet
// what the plugin does.
int check(const Arguments& arguments, const plugin::Registry& registry) {
  const plugin::Candidate candidate = registry.locate(arguments.plugin);
  if (!candidate.refusal.empty())
    throw Error(ExitCode::plugin_refused, "[plugin] " + candidate.describe_refusal());
  RunMessage run;
  run.command = "check";
  run.plugins.push_back({candidate.metadata->kinds.front(), candidate.id, candidate.file.string(),
                         candidate.metadata->version, candidate.metadata->to_json()});
  run.args = {{"options", read_option_arguments(*candidate.metadata, arguments.options)},
              {"device", arguments.device == "auto" ? "cpu" : arguments.device},
              {"cases", arguments.cases},
              {"timeout_secs", arguments.timeout_secs},
              {"json", arguments.json}};
  return judge_in_engine(arguments, std::move(run));
}

}  // namespace

int run_plugins_command(const Arguments& arguments) {
  const plugin::Registry registry = open_registry(arguments.plugin_paths, arguments.configs, arguments.sets);
  if (arguments.command == "plugins list") return plugin::command_list(registry, std::cout, arguments.json);
  if (arguments.command == "plugins inspect") {
    return plugin::command_inspect(registry, arguments.plugin, std::cout, arguments.json);
  }
  if (arguments.command == "plugins check") return check(arguments, registry);
  std::optional<std::string> chosen;
  if (!arguments.configs.empty()) {
    const config::Composed composed = config::compose(arguments.configs, arguments.sets);
    for (const config::ChosenPlugin& plugin : config::chosen_plugins(composed)) {
      if (plugin.kind == arguments.plugin) chosen = plugin.id;
    }
  }
  return why(arguments, registry, chosen);
}

}  // namespace tetrad::cli
