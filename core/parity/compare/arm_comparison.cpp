#include "parity/compare/arm_comparison.h"

#include "parity/fields.h"
#include "parity/files.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <string_view>
#include <utility>

namespace tetrad::parity {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

// Keys that change how the reference is fed or measured, not what it computes.
constexpr std::array<std::string_view, 4> feeding_keys = {"parity.feed", "parity.iterations",
                                                          "parity.repeats", "model.prefill_chunk"};

fs::path logits_of(const ArmFiles& arm) {
  const fs::path own = arm.folder / logits_file;
  std::error_code ignored;
  const std::string elsewhere = text(arm.record, "logits_file");
  return fs::exists(own, ignored) || elsewhere.empty() ? own : fs::path(elsewhere);
}

bool trains(const ArmFiles& arm) {
  return !at(arm.record, "training").is_null();
}

bool is_own_arm(const json& plan) {
  const json& differs = at(plan, "differs");
  if (!differs.is_array() || differs.empty()) return false;
  return std::all_of(differs.begin(), differs.end(), [](const json& one) {
    return std::find(feeding_keys.begin(), feeding_keys.end(), text(one, "key")) != feeding_keys.end();
  });
}

// Both sides say something, and not the same.
bool contradict(const json& a, const json& b) {
  return !a.is_null() && !b.is_null() && a != b && a != json("") && b != json("");
}

std::optional<double> given(const ResultFolder& folder, const char* name) {
  return number(folder.plan, (std::string("settings/tolerance/") + name).c_str());
}

void check_identity(const ResultFolder& folder, const ArmFiles& reference, const ArmFiles& own,
                    Checks& checks) {
  const auto both = [&](const char* key) {
    return json{{"reference", at(reference.record, key)}, {"own", at(own.record, key)}};
  };
  if (contradict(at(reference.record, "tokenizer_sha256"), at(own.record, "tokenizer_sha256"))) {
    checks.cannot_compare("other_tokenizer", both("tokenizer_sha256"));
  }
  if (contradict(at(reference.record, "vocab_size"), at(own.record, "vocab_size"))) {
    checks.cannot_compare("other_vocabulary", both("vocab_size"));
  }
  if (contradict(at(reference.record, "script_sha256"), at(own.record, "script_sha256"))) {
    checks.cannot_compare("other_script");
  }
  // A contract says nothing about other weights; a number that somebody gave does.
  if (contradict(at(reference.record, "weights_identity"), at(own.record, "weights_identity")) &&
      !given(folder, "kl") && !given(folder, "top1") && !given(folder, "max_logit") &&
      !given(folder, "perplexity_ratio")) {
    checks.cannot_compare("other_weights", both("weights_identity"));
  }
  json keys = json::array();
  for (const json& one : at(own.plan, "differs")) {
    if (at(one, "swept") == json(false)) keys.push_back(one);
  }
  if (!keys.empty()) checks.cannot_compare("other_keys", {{"keys", keys}});
}

void measure_logits(const ResultFolder& folder, const ArmFiles& reference, const ArmFiles& own,
                    Measured& result) {
  const LogitsFile a(logits_of(reference));
  const LogitsFile b(logits_of(own));
  result.vocabulary = a.vocabulary();
  if (a.vocabulary() != b.vocabulary()) {
    if (result.checks.comparable()) {
      result.checks.cannot_compare("other_vocabulary",
                                   {{"reference", a.vocabulary()}, {"own", b.vocabulary()}});
    }
    return;
  }
  if (a.ids() != b.ids() || a.ids() != folder.ids) {
    if (result.checks.comparable()) result.checks.cannot_compare("other_script");
    return;
  }
  result.logits = compare_logits(a, b);
  double square = 0;
  for (const RowFigures& row : result.logits->rows) square += row.reference_spread * row.reference_spread;
  result.spread = std::sqrt(square / static_cast<double>(std::max<std::int64_t>(1, result.logits->compared)));
  if (result.logits->reference_not_finite > 0) {
    result.checks.cannot_compare("reference_not_finite", {{"position", result.logits->first_not_finite}});
  }
}

json token_at(const Pieces& pieces, std::int64_t id) {
  return pieces.token(id);
}

json logits_json(const ResultFolder& folder, const LogitsComparison& logits, const Pieces& pieces) {
  json kl = json::array();
  json agrees = json::array();
  for (const RowFigures& row : logits.rows) {
    const bool finite = row.own_finite && row.reference_finite;
    kl.push_back(finite ? finite_or_null(row.kl) : json());
    agrees.push_back(finite ? json(row.agrees) : json());
  }
  const bool any = logits.compared > 0;
  json result = {{"max_logit", any ? finite_or_null(logits.max_difference) : json()},
                 {"mean_logit", any ? finite_or_null(logits.mean_difference) : json()},
                 {"p99_logit", any ? finite_or_null(logits.p99_difference) : json()},
                 {"kl", kl},
                 {"agrees", agrees},
                 {"kl_max", any ? finite_or_null(logits.kl_max) : json()},
                 {"kl_max_position", any ? json(logits.kl_max_position) : json()},
                 {"kl_mean", any ? finite_or_null(logits.kl_mean) : json()},
                 {"compared", logits.compared},
                 {"agreeing", logits.agreeing},
                 {"top1_agreement", any ? finite_or_null(static_cast<double>(logits.agreeing) /
                                                         static_cast<double>(logits.compared))
                                        : json()},
                 {"bit_equal", logits.bit_equal},
                 {"not_finite",
                  {{"own", logits.own_not_finite},
                   {"reference", logits.reference_not_finite},
                   {"first", logits.first_not_finite}}},
                 {"first_divergence", nullptr}};
  const std::int64_t p = logits.first_divergence;
  if (p < 0) return result;
  const RowFigures& row = logits.rows[static_cast<std::size_t>(p)];
  // Row p predicts token p + 1: the place that the reader looks for.
  json first =
      place_in_script(folder.script, p + 1 < static_cast<std::int64_t>(folder.ids.size()) ? p + 1 : p);
  first["position"] = p;
  first["reference"] = token_at(pieces, row.reference_top);
  first["own"] = token_at(pieces, row.own_top);
  first["reference_gap"] = row.reference_gap;
  result["first_divergence"] = first;
  return result;
}

json layers_json(const LayerComparison& layers, const LayerVerdict& verdict) {
  json list = json::array();
  for (std::size_t i = 0; i < layers.tensors.size(); ++i) {
    const TensorComparison& t = layers.tensors[i];
    list.push_back({{"layer", t.layer},
                    {"tensor", t.tensor},
                    {"error", t.errors.finite ? finite_or_null(t.errors.error) : json()},
                    {"tolerance", finite_or_null(verdict.tolerance[i])},
                    {"channel", finite_or_null(t.errors.channel)},
                    {"worst_channel", t.errors.worst_channel},
                    {"position", finite_or_null(t.errors.position)},
                    {"worst_position", t.errors.worst_position}});
  }
  return list;
}

json first_beyond_json(const LayerComparison& layers, const LayerVerdict& verdict) {
  if (verdict.first_beyond < 0) return {};
  const TensorComparison& t = layers.tensors[static_cast<std::size_t>(verdict.first_beyond)];
  return {{"layer", t.layer},
          {"tensor", t.tensor},
          {"what", verdict.what},
          {"measured", finite_or_null(verdict.measured)},
          {"allowed", finite_or_null(verdict.allowed)},
          {"source", source_name(verdict.source)},
          {"worst_channel", t.errors.worst_channel},
          {"worst_position", t.errors.worst_position}};
}

// The reference's own noise is that of its dtype and weights; of another one it says nothing.
bool by_noise(const Measured& m) {
  return !m.own_arm && m.contract.same_weights && m.contract.same_dtype;
}

void judge_logits(const ResultFolder& folder, Measured& m, const SelfNoise& noise) {
  const LogitsComparison& logits = *m.logits;
  if (logits.own_not_finite > 0) {
    m.checks.fail("not_finite",
                  {{"position", logits.first_not_finite}, {"positions", logits.own_not_finite}});
  }
  if (logits.compared == 0) return;
  const double factor = number(folder.plan, "settings/self_noise_factor").value_or(2);
  const double greatest_logit =
      m.contract.max_logit(m.spread, static_cast<std::int64_t>(logits.rows.size()), m.vocabulary);
  const json where = {{"position", logits.kl_max_position}};
  if (const auto kl = given(folder, "kl")) {
    m.checks.at_most("kl", logits.kl_max, *kl, "tolerance", where);
  } else if (by_noise(m) && noise.kl_max > 0) {
    m.checks.at_most("kl", logits.kl_max, factor * noise.kl_max, "self-noise", where);
  } else {
    m.checks.at_most("kl", logits.kl_max, m.contract.kl_max(m.spread), "contract", where);
    m.checks.at_most("kl_mean", logits.kl_mean, m.contract.kl_mean(m.spread), "contract");
  }
  if (const auto most = given(folder, "max_logit")) {
    m.checks.at_most("max_logit", logits.max_difference, *most, "tolerance");
  } else {
    m.checks.at_most("max_logit", logits.max_difference, greatest_logit, "contract");
  }
  if (const auto share = given(folder, "top1")) {
    m.checks.at_least("top1", static_cast<double>(logits.agreeing) / static_cast<double>(logits.compared),
                      *share, "tolerance");
    return;
  }
  // Another top token is what rounding may do where the reference itself hardly prefers its own.
  double gap = 0;
  json place;
  for (std::size_t i = 0; i < logits.rows.size(); ++i) {
    const RowFigures& row = logits.rows[i];
    if (row.agrees || !row.own_finite || !row.reference_finite || row.reference_gap < gap) continue;
    gap = row.reference_gap;
    place = {{"position", i}};
  }
  m.checks.at_most("top1_gap", gap, greatest_logit / 2, "contract", place);
}

void judge_perplexity(const ResultFolder& folder, Measured& m, const SelfNoise& noise) {
  if (const auto most = given(folder, "perplexity_ratio")) {
    m.checks.at_most("perplexity", m.perplexity->ratio, *most, "tolerance");
    return;
  }
  // Sampling error of the text, and what the arms' own arithmetic may change on average.
  const double mean = m.contract.kl_mean(m.spread > 0 ? m.spread : 3.5);
  const double allowed =
      std::max(mean, m.own_arm ? 0 : 2 * noise.log_perplexity) + 3 * m.perplexity->standard_error;
  m.checks.at_most("perplexity", std::exp(std::fabs(std::log(m.perplexity->ratio))), std::exp(allowed),
                   "contract");
}

bool other_optimizer(const json& plan) {
  const json& differs = at(plan, "differs");
  return differs.is_array() && std::any_of(differs.begin(), differs.end(), [](const json& one) {
           return text(one, "key").starts_with("train.") || text(one, "key").starts_with("optimizer");
         });
}

void judge_training(const ResultFolder& folder, const ArmFiles& own, Measured& m) {
  const Losses& losses = *m.losses;
  if (!losses.finite) m.checks.fail("not_finite");
  if (!losses.equal_length) m.checks.fail("other_steps");
  if (const auto most = given(folder, "loss")) {
    m.checks.at_most("loss", losses.max_relative, *most, "tolerance", {{"step", losses.max_step}});
  } else {
    // Before the first update both are the same model: the loss may differ as logits may. An optimizer that
    // keeps the weights in a format of its own (planes) makes it another one by what storing them costs.
    const double weights = std::max(m.contract.weights, other_optimizer(own.plan) ? nvfp4_weight_error : 0.0);
    m.checks.at_most("first_loss", losses.first_relative,
                     std::hypot(depth_mean * m.contract.arithmetic, weights_depth_mean * weights), "contract",
                     {{"step", 1}});
  }
  if (!m.updates) return;
  const Updates& updates = *m.updates;
  const auto worst =
      std::max_element(updates.tensors.begin(), updates.tensors.end(),
                       [](const auto& a, const auto& b) { return a.relative_error < b.relative_error; });
  const json where = worst == updates.tensors.end() ? json() : json{{"tensor", worst->name}};
  for (const UpdateComparison& tensor : updates.tensors) {
    if (!tensor.finite) m.checks.fail("not_finite", {{"tensor", tensor.name}});
  }
  if (!updates.missing.empty()) m.checks.fail("other_parameters", {{"tensor", updates.missing.front()}});
  if (const auto most = given(folder, "update")) {
    m.checks.at_most("update", worst == updates.tensors.end() ? 0 : worst->relative_error, *most, "tolerance",
                     where);
    return;
  }
  // Two optimizers update differently on purpose; only under one optimizer has the first update a bound.
  // Adam's first step is lr * sign(g): an error e of the gradient turns the sign of a share of about e.
  if (!other_optimizer(own.plan)) {
    m.checks.at_most("update", updates.relative_error, 2 * std::sqrt(depth_max * m.contract.rounding),
                     "contract", where);
  }
}

json training_json(const Measured& m) {
  json result = {{"steps", m.losses->steps},
                 {"first_relative", finite_or_null(m.losses->first_relative)},
                 {"max_relative", finite_or_null(m.losses->max_relative)},
                 {"max_step", m.losses->max_step},
                 {"updates", json::array()},
                 {"update_error", nullptr},
                 {"update_cosine", nullptr},
                 {"missing", json::array()}};
  if (!m.updates) return result;
  for (const UpdateComparison& t : m.updates->tensors) {
    result["updates"].push_back({{"tensor", t.name},
                                 {"elements", t.elements},
                                 {"error", t.finite ? finite_or_null(t.relative_error) : json()},
                                 {"cosine", t.finite ? finite_or_null(t.cosine) : json()}});
  }
  result["update_error"] = finite_or_null(m.updates->relative_error);
  result["update_cosine"] = finite_or_null(m.updates->cosine);
  result["missing"] = m.updates->missing;
  return result;
}

}  // namespace

Measured measure(const ResultFolder& folder, std::size_t index) {
  const ArmFiles& reference = folder.arms[folder.base_of(index)];
  const ArmFiles& own = folder.arms[index];
  Measured result;
  result.own_arm = is_own_arm(own.plan);
  result.contract = contract_of(reference.record, own.record, at(own.plan, "differs"));
  check_identity(folder, reference, own, result.checks);
  std::error_code ignored;
  const bool scored = at(own.record, "scored") != json(false) &&
                      (!trains(reference) ||
                       (fs::exists(logits_of(reference), ignored) && fs::exists(logits_of(own), ignored)));
  if (scored) measure_logits(folder, reference, own, result);
  if (fs::exists(reference.folder / layers_file, ignored) && fs::exists(own.folder / layers_file, ignored)) {
    result.layers = compare_layers(reference.folder / layers_file, own.folder / layers_file);
  }
  result.perplexity = perplexity_ratio(at(reference.record, "perplexity"), at(own.record, "perplexity"));
  if (trains(reference) || trains(own)) {
    if (trains(reference) != trains(own)) {
      result.checks.cannot_compare("only_one_trains");
      return result;
    }
    result.losses =
        compare_losses(at(reference.record, "training/losses"), at(own.record, "training/losses"));
    if (fs::exists(reference.folder / updates_file, ignored) &&
        fs::exists(own.folder / updates_file, ignored)) {
      result.updates = compare_updates(reference.folder / updates_file, own.folder / updates_file);
    }
  }
  return result;
}

SelfNoise self_noise(const ResultFolder& folder, std::size_t base,
                     const std::vector<std::optional<Measured>>& arms) {
  SelfNoise noise;
  for (std::size_t i = 0; i < arms.size(); ++i) {
    const std::optional<Measured>& arm = arms[i];
    if (!arm || folder.base_of(i) != base || !arm->own_arm || !arm->checks.comparable()) continue;
    ++noise.arms;
    if (arm->logits) {
      noise.kl_max = std::max(noise.kl_max, arm->logits->kl_max);
      noise.kl_mean = std::max(noise.kl_mean, arm->logits->kl_mean);
      noise.max_logit = std::max(noise.max_logit, arm->logits->max_difference);
    }
    if (arm->perplexity) {
      noise.log_perplexity = std::max(noise.log_perplexity, std::fabs(std::log(arm->perplexity->ratio)));
    }
    if (arm->layers) noise.layers.push_back(&*arm->layers);
  }
  return noise;
}

json judge(const ResultFolder& folder, std::size_t index, Measured& m, const SelfNoise& noise,
           const Pieces& pieces) {
  const ArmFiles& reference = folder.arms[folder.base_of(index)];
  const ArmFiles& own = folder.arms[index];
  json result = json::object();
  result["own_arm"] = m.own_arm;
  result["same_weights_by_contract"] = m.contract.same_weights;
  result["rounding"] = m.contract.rounding;
  if (m.logits) {
    result.update(logits_json(folder, *m.logits, pieces));
    judge_logits(folder, m, noise);
  }
  if (at(own.record, "iterations/equal") == json(false)) {
    m.checks.fail("iterations_differ", at(own.record, "iterations/first_difference"));
  }
  result["text_divergence"] =
      text_divergence(at(reference.record, "greedy"), at(own.record, "greedy"), pieces);
  result["layers"] = nullptr;
  result["first_layer_beyond"] = nullptr;
  if (m.layers) {
    const double factor = number(folder.plan, "settings/self_noise_factor").value_or(2);
    const LayerVerdict verdict =
        judge_layers(*m.layers, m.contract.rounding, given(folder, "layer"), factor,
                     by_noise(m) ? noise.layers : std::vector<const LayerComparison*>());
    result["layers"] = layers_json(*m.layers, verdict);
    result["layers_missing"] = m.layers->missing;
    result["layers_source"] = source_name(verdict.source);
    const json first = first_beyond_json(*m.layers, verdict);
    result["first_layer_beyond"] = first;
    const double measured = first.is_null() ? 0 : verdict.measured;
    const double allowed = first.is_null() ? infinite : verdict.allowed;
    m.checks.at_most("layer", measured, allowed, source_name(verdict.source), first);
  }
  result["perplexity_ratio"] = m.perplexity ? finite_or_null(m.perplexity->ratio) : json();
  result["perplexity_ratio_log_error"] = m.perplexity ? finite_or_null(m.perplexity->standard_error) : json();
  if (m.perplexity) judge_perplexity(folder, m, noise);
  result["training"] = nullptr;
  if (m.losses) {
    result["training"] = training_json(m);
    judge_training(folder, own, m);
  }
  return result;
}

}  // namespace tetrad::parity
