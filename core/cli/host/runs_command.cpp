// `host runs list|show`: reads what runs have left; starts nothing.
#include "cli/host/commands.h"
#include "runs/store.h"
#include "runs/summary.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

namespace tetrad::cli {

using nlohmann::json;

namespace {

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

json to_json(const runs::Entry& run) {
  return {{"name", run.name},
          {"folder", std::filesystem::absolute(run.folder).lexically_normal().string()},
          {"started_utc", run.started_utc},
          {"config", run.config},
          {"task", run.task},
          {"state", run.state},
          {"exit_code", run.exit_code ? json(*run.exit_code) : json()},
          {"tok_s", run.tok_s ? json(*run.tok_s) : json()}};
}

std::string status(const runs::Entry& run) {
  const bool plain = !run.exit_code || *run.exit_code == 0;
  return plain ? run.state : fmt::format("{} ({})", run.state, *run.exit_code);
}

int list(const Arguments& arguments) {
  const runs::Listing listing = runs::list_runs(arguments.runs_dir, arguments.most);
  if (arguments.json) {
    json all = json::array();
    for (const runs::Entry& run : listing.runs) all.push_back(to_json(run));
    print(json{{"runs", all}, {"older", listing.older}}.dump(2) + "\n");
    return 0;
  }
  std::vector<std::vector<std::string>> rows = {{"RUN", "CONFIG", "TASK", "STATUS", "TOK/S"}};
  for (const runs::Entry& run : listing.runs) {
    rows.push_back({run.name, run.config, run.task.empty() ? "-" : run.task, status(run),
                    run.tok_s ? fmt::format("{:.1f}", *run.tok_s) : "-"});
  }
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i + 1 < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    print(line + fmt::format("{:>{}}\n", row.back(), widths.back()));
  }
  if (listing.runs.empty()) std::fprintf(stderr, "no runs in '%s'\n", arguments.runs_dir.c_str());
  if (listing.older > 0) {
    std::fprintf(stderr, "%zu older ones are not shown; --limit 0 shows all\n", listing.older);
  }
  return 0;
}

int show(const Arguments& arguments) {
  const runs::Language language = runs::parse_language(arguments.language);
  const json run = runs::read_run(runs::find_run(arguments.runs_dir, arguments.run_name));
  print(arguments.json ? run.dump(2, ' ', false, json::error_handler_t::replace) + "\n"
                       : runs::summary(run, language));
  return 0;
}

}  // namespace

int run_runs_command(const Arguments& arguments) {
  return arguments.command == "runs list" ? list(arguments) : show(arguments);
}

}  // namespace tetrad::cli
