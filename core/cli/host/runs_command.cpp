// `host runs list|show`: reads what runs have left; starts nothing.
#include "cli/host/commands.h"
#include "runs/store.h"
#include "runs/summary.h"
#include "text/utf8.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
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

std::string status(const runs::Entry& run, const runs::Words& words) {
  const std::string state = runs::state_words(words, run.state);
  const bool plain = !run.exit_code || *run.exit_code == 0;
  return plain ? state : fmt::format("{} ({})", state, *run.exit_code);
}

// Columns on a terminal: East Asian characters, which the words and names may hold, take two.
std::size_t columns(std::string_view text) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size();) {
    const text::Utf8Char c = text::decode_utf8(text, at);
    count += c.code_point >= 0x1100 ? 2 : 1;
    at += c.length;
  }
  return count;
}

std::string padded(const std::string& text, std::size_t width) {
  return text + std::string(width - std::min(width, columns(text)), ' ');
}

int list(const Arguments& arguments) {
  const runs::Words& words = runs::words(runs::parse_language(arguments.language));
  const runs::Listing listing = runs::list_runs(arguments.runs_dir, arguments.most);
  if (arguments.json) {
    json all = json::array();
    for (const runs::Entry& run : listing.runs) all.push_back(to_json(run));
    print(json{{"runs", all}, {"older", listing.older}}.dump(2) + "\n");
    return 0;
  }
  std::vector<std::vector<std::string>> rows = {{words.run, words.config, words.task, words.result, "tok/s"}};
  for (const runs::Entry& run : listing.runs) {
    rows.push_back({run.name, run.config, run.task.empty() ? "-" : run.task, status(run, words),
                    run.tok_s ? fmt::format("{:.1f}", *run.tok_s) : "-"});
  }
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i + 1 < row.size(); ++i) line += padded(row[i], widths[i] + 2);
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
