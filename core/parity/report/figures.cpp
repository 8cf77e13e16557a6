#include "parity/report/figures.h"

#include "parity/fields.h"
#include "parity/report/tokens.h"
#include "parity/report/width.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace tetrad::parity {

using nlohmann::json;

namespace {

const json& against(const json& arm) {
  return at(arm, "against_reference");
}

std::string kl_max(const json& arm, Language) {
  return short_number(number(against(arm), "kl_max"));
}
std::string kl_mean(const json& arm, Language) {
  return short_number(number(against(arm), "kl_mean"));
}
std::string max_logit(const json& arm, Language) {
  return short_number(number(against(arm), "max_logit"));
}
std::string mean_logit(const json& arm, Language) {
  return short_number(number(against(arm), "mean_logit"));
}
std::string p99_logit(const json& arm, Language) {
  return short_number(number(against(arm), "p99_logit"));
}
std::string top1(const json& arm, Language) {
  return percent(number(against(arm), "top1_agreement"));
}
std::string diverges(const json& arm, Language language) {
  const std::string shown = divergence_text(arm, language);
  return shown.empty() ? "-" : shown;
}
std::string layer(const json& arm, Language language) {
  const std::string shown = layer_text(arm, language);
  if (!shown.empty()) return shown;
  return at(against(arm), "layers").is_array() ? std::string(word(language, "none")) : "-";
}
std::string perplexity(const json& arm, Language) {
  const auto value = number(arm, "figures/perplexity/value");
  if (!value) return "-";
  const auto error = number(arm, "figures/perplexity/standard_error");
  return error ? fmt::format("{:.3f} ± {:.3f}", *value, *error) : fmt::format("{:.3f}", *value);
}
std::string ratio(const json& arm, Language) {
  const auto value = number(against(arm), "perplexity_ratio");
  if (!value) return "-";
  const auto error = number(against(arm), "perplexity_ratio_log_error");
  return error ? fmt::format("{:.4f} ± {:.4f}", *value, *value * *error) : fmt::format("{:.4f}", *value);
}
std::string load(const json& arm, Language) {
  return seconds(number(arm, "figures/timing/load_s"));
}
std::string ttft(const json& arm, Language) {
  return seconds(number(arm, "figures/timing/ttft_s"));
}
std::string rate(std::optional<double> value) {
  return value ? fmt::format("{:.1f}", *value) : "-";
}
std::string prefill(const json& arm, Language) {
  return rate(number(arm, "figures/timing/prefill_tok_s"));
}
std::string decode(const json& arm, Language) {
  return rate(number(arm, "figures/timing/decode_tok_s"));
}
std::string host_memory(const json& arm, Language) {
  return gib(number(arm, "figures/memory/host_peak_bytes"));
}
std::string device_memory(const json& arm, Language) {
  const auto bytes = number(arm, "figures/memory/device_peak_bytes");
  return bytes && *bytes > 0 ? gib(bytes) : "-";
}
std::string kv_bytes(const json& arm, Language) {
  return gib(number(arm, "figures/memory/kv_bytes"));
}
std::string show_last_loss(const json& arm, Language) {
  return short_number(last_loss(arm));
}
std::string loss_difference(const json& arm, Language) {
  return short_number(number(against(arm), "training/max_relative"));
}
std::string update_error(const json& arm, Language) {
  return short_number(number(against(arm), "training/update_error"));
}
std::string update_cosine(const json& arm, Language) {
  return short_number(number(against(arm), "training/update_cosine"));
}

std::vector<Column> used(const json& report, std::vector<Column> columns) {
  std::erase_if(columns, [&](const Column& column) {
    const json& arms = at(report, "arms");
    return std::none_of(arms.begin(), arms.end(),
                        [&](const json& arm) { return column.show(arm, Language::english) != "-"; });
  });
  return columns;
}

}  // namespace

std::optional<double> last_loss(const json& arm) {
  const json& losses = at(arm, "figures/training/losses");
  if (!losses.is_array() || losses.empty() || !losses.back().is_number()) return std::nullopt;
  return losses.back().get<double>();
}

std::vector<Column> agreement_columns(const json& report) {
  return used(report, {{"top1", top1},
                       {"kl_max", kl_max},
                       {"kl_mean", kl_mean},
                       {"max_logit", max_logit},
                       {"p99_logit", p99_logit},
                       {"mean_logit", mean_logit},
                       {"perplexity", perplexity},
                       {"ratio", ratio},
                       {"layer", layer, true},
                       {"diverges", diverges, true}});
}

std::vector<Column> speed_columns(const json& report) {
  return used(report, {{"load", load},
                       {"ttft", ttft},
                       {"prefill", prefill},
                       {"decode", decode},
                       {"host_memory", host_memory},
                       {"device_memory", device_memory},
                       {"kv_bytes", kv_bytes}});
}

std::vector<Column> training_columns(const json& report) {
  return used(report, {{"last_loss", show_last_loss},
                       {"loss_difference", loss_difference},
                       {"update_error", update_error},
                       {"update_cosine", update_cosine}});
}

std::string reference_label(const json& report) {
  const auto reference = number(report, "reference");
  for (const json& arm : at(report, "arms")) {
    if (number(arm, "index") == reference) return shown(text(arm, "label"));
  }
  return "-";
}

std::string verdict_text(const json& arm, Language language) {
  const std::string verdict = word_or(language, "verdict.", shown(text(arm, "verdict/word")));
  const std::string other = text(arm, "against");  // compared with another arm than the reference
  return other.empty() ? verdict : say(language, "verdict.against", verdict, shown(other));
}

std::string divergence_text(const json& arm, Language language) {
  const json& first = at(against(arm), "first_divergence");
  const auto position = number(first, "position");
  if (!position) return {};
  std::string place = fmt::format("{:.0f}", *position);
  if (const auto turn = number(first, "turn")) {
    place += say(language, "brackets", say(language, "turn", fmt::format("{:.0f}", *turn)));
  }
  return fmt::format("{}{}{} → {}", place, word(language, "colon"), token_text(at(first, "reference")),
                     token_text(at(first, "own")));
}

std::string layer_text(const json& arm, Language language) {
  const json& first = at(against(arm), "first_layer_beyond");
  const auto layer = number(first, "layer");
  if (!layer) return {};
  const std::string tensor = shown(text(first, "tensor"));
  if (*layer < 0) return say(language, "layer.before", tensor);
  return say(language, "layer.at", fmt::format("{:.0f}", *layer), tensor);
}

}  // namespace tetrad::parity
