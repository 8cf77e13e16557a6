#include "parity/compare/compare.h"

#include "parity/compare/arm_comparison.h"
#include "parity/compare/pieces.h"
#include "parity/compare/result_folder.h"
#include "parity/compare/seal.h"
#include "parity/fields.h"
#include "parity/files.h"
#include "parity/report/sentences.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <vector>

namespace tetrad::parity {

using nlohmann::json;

namespace {

Pieces pieces_of(const ResultFolder& folder) {
  Pieces pieces;
  pieces.learn(at(folder.script, "ids"), at(folder.script, "text_pieces"));
  for (const ArmFiles& arm : folder.arms) {
    const json& greedy = at(arm.record, "greedy");
    if (greedy.is_array()) {
      for (const json& turn : greedy) pieces.learn(at(turn, "ids"), at(turn, "pieces"));
    }
    pieces.learn_top(at(arm.record, "first_token/top"));
  }
  return pieces;
}

// What the report shows of an arm by itself.
json figures_of(const ArmFiles& arm) {
  json figures = json::object();
  for (const char* key :
       {"identity", "numerics", "feed", "positions", "greedy", "first_token", "timing", "memory",
        "iterations", "training", "vocab_size", "tokenizer_sha256", "weights_identity"}) {
    figures[key] = at(arm.record, key);
  }
  json perplexity = at(arm.record, "perplexity");
  if (perplexity.is_object()) perplexity.erase("token_nll");
  figures["perplexity"] = perplexity;
  return figures;
}

json plan_of(const ResultFolder& folder) {
  json plan = folder.plan;
  for (json& arm : plan["arms"]) {
    if (arm.is_object()) arm.erase("config");
  }
  return plan;
}

json overall(const json& arms, bool reference_ok) {
  bool failed = !reference_ok;
  bool obscure = false;
  for (const json& arm : arms) {
    const std::string word = text(arm, "verdict/word");
    failed = failed || word == "fail" || word == "failed";
    obscure = obscure || word == "not_comparable";
  }
  if (failed) return {{"word", "fail"}, {"exit_code", 1}};
  if (obscure) return {{"word", "not_comparable"}, {"exit_code", 2}};
  return {{"word", "pass"}, {"exit_code", 0}};
}

}  // namespace

json make_report(const std::filesystem::path& result_folder) {
  const ResultFolder folder = read_result_folder(result_folder);
  const Pieces pieces = pieces_of(folder);
  const bool reference_ok = folder.arms[folder.reference].ok;
  std::vector<std::optional<Measured>> measured(folder.arms.size());
  if (reference_ok) {
    for (std::size_t i = 0; i < folder.arms.size(); ++i) {
      const std::size_t base = folder.base_of(i);
      if (i != base && folder.arms[i].ok && folder.arms[base].ok) measured[i] = measure(folder, i);
    }
  }
  const SelfNoise noise = self_noise(folder, folder.reference, measured);

  json arms = json::array();
  for (std::size_t i = 0; i < folder.arms.size(); ++i) {
    const ArmFiles& arm = folder.arms[i];
    const std::size_t base = folder.base_of(i);
    json entry = {{"index", i},
                  {"label", arm.label},
                  {"folder", at(arm.plan, "folder")},
                  {"values", at(arm.plan, "values")},
                  {"differs", at(arm.plan, "differs")},
                  {"against", base == folder.reference || base == i ? json() : json(folder.arms[base].label)},
                  {"status", arm.ok ? "ok" : "failed"},
                  {"error", arm.ok ? json() : json(arm.error)},
                  {"figures", arm.ok ? figures_of(arm) : json()},
                  {"against_reference", nullptr},
                  {"checks", json::array()}};
    if (!arm.ok) {
      entry["verdict"] = {{"word", "failed"},
                          {"reasons", json::array({{{"code", "failed"}, {"error", arm.error}}})}};
    } else if (i == base) {
      entry["verdict"] = {{"word", "reference"}, {"reasons", json::array()}};
      if (at(arm.record, "iterations/equal") == json(false)) {
        Checks checks;
        checks.fail("iterations_differ", at(arm.record, "iterations/first_difference"));
        entry["verdict"] = checks.verdict();
      }
    } else if (!measured[i]) {
      entry["verdict"] = {{"word", "not_comparable"},
                          {"reasons", json::array({{{"code", "reference_failed"}}})}};
    } else {
      entry["against_reference"] =
          judge(folder, i, *measured[i],
                base == folder.reference ? noise : self_noise(folder, base, measured), pieces);
      entry["checks"] = measured[i]->checks.checks();
      entry["verdict"] = measured[i]->checks.verdict();
    }
    arms.push_back(std::move(entry));
  }

  json report = {{"format", report_format},       {"version", format_version}, {"plan", plan_of(folder)},
                 {"reference", folder.reference}, {"script", folder.script},   {"arms", std::move(arms)},
                 {"self_noise", nullptr}};
  if (noise.arms > 0) {
    report["self_noise"] = {{"arms", noise.arms},
                            {"factor", number(folder.plan, "settings/self_noise_factor").value_or(2)},
                            {"kl_max", finite_or_null(noise.kl_max)},
                            {"kl_mean", finite_or_null(noise.kl_mean)},
                            {"max_logit", finite_or_null(noise.max_logit)}};
  }
  report["verdict"] = overall(report["arms"], reference_ok);
  report["sentences"] = {{"en", sentences(report, runs::Language::english)},
                         {"zh-TW", sentences(report, runs::Language::traditional_chinese)}};
  seal(report);
  return report;
}

}  // namespace tetrad::parity
