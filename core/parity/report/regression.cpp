#include "parity/fields.h"
#include "parity/report/figures.h"
#include "parity/report/report.h"
#include "parity/report/text_table.h"
#include "parity/report/tokens.h"
#include "parity/report/width.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>

namespace tetrad::parity {

using nlohmann::json;

namespace {

// Worse by less than this is noise: a share of the old value, and an amount below which nothing counts.
struct Metric {
  const char* key;
  const char* pointer;
  bool quality;  // of the numbers, not of the machine: compared only where script and reference are the same
  bool less_is_good;
  double share, least;
};

constexpr Metric metrics[] = {
    {"kl_max", "against_reference/kl_max", true, true, 0.5, 1e-9},
    {"kl_mean", "against_reference/kl_mean", true, true, 0.5, 1e-10},
    {"top1", "against_reference/top1_agreement", true, false, 0, 0},
    {"max_logit", "against_reference/max_logit", true, true, 0.5, 1e-6},
    {"perplexity", "figures/perplexity/value", true, true, 0.002, 0},
    {"last_loss", "", true, true, 0.01, 1e-6},
    {"load", "figures/timing/load_s", false, true, 0.25, 0.2},
    {"ttft", "figures/timing/ttft_s", false, true, 0.25, 0.01},
    {"prefill", "figures/timing/prefill_tok_s", false, false, 0.2, 0},
    {"decode", "figures/timing/decode_tok_s", false, false, 0.2, 0},
    {"host_memory", "figures/memory/host_peak_bytes", false, true, 0.05, 16.0 * 1024 * 1024},
    {"device_memory", "figures/memory/device_peak_bytes", false, true, 0.05, 16.0 * 1024 * 1024},
    {"kv_bytes", "figures/memory/kv_bytes", false, true, 0, 0},
};

std::optional<double> value_of(const json& arm, const Metric& metric) {
  return *metric.pointer == '\0' ? last_loss(arm) : number(arm, metric.pointer);
}

int rank(const std::string& verdict) {
  if (verdict == "failed") return 3;
  if (verdict == "fail") return 2;
  if (verdict == "not_comparable") return 1;
  return 0;
}

std::map<std::string, const json*> by_label(const json& report) {
  std::map<std::string, const json*> result;
  for (const json& arm : at(report, "arms")) result.emplace(text(arm, "label"), &arm);
  return result;
}

void compare_arm(const std::string& label, const json& old_arm, const json& new_arm, bool quality,
                 json& result) {
  const std::string before = text(old_arm, "verdict/word");
  const std::string after = text(new_arm, "verdict/word");
  if (rank(before) != rank(after)) {
    result[rank(after) > rank(before) ? "regressions" : "improvements"].push_back(
        {{"arm", label}, {"figure", "verdict"}, {"old", before}, {"new", after}, {"allowed", nullptr}});
  }
  for (const Metric& metric : metrics) {
    if (metric.quality && !quality) continue;
    const auto a = value_of(old_arm, metric);
    const auto b = value_of(new_arm, metric);
    if (!a || !b) continue;
    const double room = std::max(metric.share * std::fabs(*a), metric.least);
    const double worse = metric.less_is_good ? *b - *a : *a - *b;
    if (std::fabs(worse) <= room) continue;
    const double allowed = metric.less_is_good ? *a + room : *a - room;
    result[worse > 0 ? "regressions" : "improvements"].push_back(
        {{"arm", label}, {"figure", metric.key}, {"old", *a}, {"new", *b}, {"allowed", allowed}});
  }
}

}  // namespace

json compare_reports(const json& old_report, const json& new_report) {
  json result = {{"regressions", json::array()}, {"improvements", json::array()}, {"notes", json::array()}};
  const auto before = by_label(old_report);
  const auto after = by_label(new_report);
  bool quality = true;
  if (at(old_report, "script/ids") != at(new_report, "script/ids")) {
    result["notes"].push_back({{"code", "other_script"}});
    quality = false;
  }
  if (reference_label(old_report) != reference_label(new_report)) {
    result["notes"].push_back({{"code", "other_reference"},
                               {"old", reference_label(old_report)},
                               {"new", reference_label(new_report)}});
    quality = false;
  }
  for (const auto& [label, arm] : before) {
    const auto found = after.find(label);
    if (found != after.end()) {
      compare_arm(label, *arm, *found->second, quality, result);
      continue;
    }
    result["notes"].push_back({{"code", "gone_arm"}, {"arm", label}});
    result["regressions"].push_back({{"arm", label},
                                     {"figure", "arm"},
                                     {"old", text(*arm, "verdict/word")},
                                     {"new", nullptr},
                                     {"allowed", nullptr}});
  }
  for (const auto& [label, arm] : after) {
    if (!before.contains(label)) result["notes"].push_back({{"code", "new_arm"}, {"arm", label}});
  }
  result["exit_code"] = result["regressions"].empty() ? 0 : 1;
  return result;
}

std::string terminal_regression(const json& comparison, Language l, int columns, bool colour) {
  const int width = std::max(40, columns);
  std::string out = fmt::format("{}\n", word(l, "regression.title"));
  const json& worse = at(comparison, "regressions");
  const std::string summary =
      worse.empty() ? std::string(word(l, "regression.none")) : say(l, "regression.some", worse.size());
  for (const std::string& line : wrapped(summary, width)) {
    out += colour ? fmt::format("\x1b[{}m{}\x1b[0m\n", worse.empty() ? 32 : 31, line) : line + "\n";
  }
  for (const json& note : at(comparison, "notes")) {
    const std::string code = text(note, "code");
    const std::string line = code == "other_reference"
                                 ? say(l, "note.other_reference", text(note, "old"), text(note, "new"))
                             : code == "other_script" ? std::string(word(l, "note.other_script"))
                                                      : say(l, "note." + code, shown(text(note, "arm")));
    for (const std::string& part : wrapped(line, width)) out += part + "\n";
  }
  for (const char* kind : {"regressions", "improvements"}) {
    const json& list = at(comparison, kind);
    if (!list.is_array() || list.empty()) continue;
    const bool is_worse = std::string(kind) == "regressions";
    std::vector<TableColumn> cells = {{std::string(word(l, "arm")), Align::left, {}},
                                      {std::string(word(l, "regression.figure")), Align::left, {}},
                                      {std::string(word(l, "regression.old")), Align::right, {}},
                                      {std::string(word(l, "regression.new")), Align::right, {}},
                                      {std::string(word(l, "regression.allowed")), Align::right, {}}};
    const auto value = [&](const json& v) {
      if (v.is_string()) return word_or(l, "verdict.", shown(v.get<std::string>()));
      return v.is_number() ? short_number(v.get<double>()) : std::string("-");
    };
    for (const json& one : list) {
      cells[0].cells.push_back(shown(text(one, "arm")));
      cells[1].cells.push_back(word_or(l, "metric.", text(one, "figure")));
      cells[2].cells.push_back(value(at(one, "old")));
      cells[3].cells.push_back(value(at(one, "new")));
      cells[4].cells.push_back(value(at(one, "allowed")));
    }
    out += fmt::format("\n{}\n", word(l, is_worse ? "regression.worse" : "regression.better"));
    out += text_table(cells, width);
  }
  return out;
}

}  // namespace tetrad::parity
