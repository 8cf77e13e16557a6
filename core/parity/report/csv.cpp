#include "parity/fields.h"
#include "parity/report/figures.h"
#include "parity/report/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <string_view>
#include <vector>

namespace tetrad::parity {

using nlohmann::json;

namespace {

// RFC 4180: quotes around what holds a comma, a quote or a line break; quotes doubled.
std::string field(std::string_view value) {
  if (value.find_first_of(",\"\r\n") == value.npos) return std::string(value);
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

// Numbers in full precision, texts as they are, nothing for null.
std::string plain(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  if (value.is_number() || value.is_boolean()) return value.dump();
  return {};
}

struct CsvColumn {
  const char* title;
  const char* pointer;
};

constexpr CsvColumn columns[] = {
    {"arm", "label"},
    {"status", "status"},
    {"verdict", "verdict/word"},
    {"kl_max", "against_reference/kl_max"},
    {"kl_max_position", "against_reference/kl_max_position"},
    {"kl_mean", "against_reference/kl_mean"},
    {"top1_agreement", "against_reference/top1_agreement"},
    {"positions", "against_reference/compared"},
    {"bit_equal", "against_reference/bit_equal"},
    {"max_logit_difference", "against_reference/max_logit"},
    {"mean_logit_difference", "against_reference/mean_logit"},
    {"p99_logit_difference", "against_reference/p99_logit"},
    {"not_finite_positions", "against_reference/not_finite/own"},
    {"first_divergence_position", "against_reference/first_divergence/position"},
    {"first_divergence_turn", "against_reference/first_divergence/turn"},
    {"reference_token", "against_reference/first_divergence/reference/id"},
    {"own_token", "against_reference/first_divergence/own/id"},
    {"text_divergence_turn", "against_reference/text_divergence/turn"},
    {"text_divergence_token", "against_reference/text_divergence/token"},
    {"first_layer_beyond", "against_reference/first_layer_beyond/layer"},
    {"first_tensor_beyond", "against_reference/first_layer_beyond/tensor"},
    {"perplexity", "figures/perplexity/value"},
    {"perplexity_standard_error", "figures/perplexity/standard_error"},
    {"perplexity_ratio", "against_reference/perplexity_ratio"},
    {"perplexity_ratio_log_error", "against_reference/perplexity_ratio_log_error"},
    {"iterations", "figures/iterations/count"},
    {"iterations_equal", "figures/iterations/equal"},
    {"load_s", "figures/timing/load_s"},
    {"ttft_s", "figures/timing/ttft_s"},
    {"prefill_tok_s", "figures/timing/prefill_tok_s"},
    {"decode_tok_s", "figures/timing/decode_tok_s"},
    {"score_s", "figures/timing/score_s"},
    {"host_peak_bytes", "figures/memory/host_peak_bytes"},
    {"device_peak_bytes", "figures/memory/device_peak_bytes"},
    {"kv_bytes", "figures/memory/kv_bytes"},
    {"loss_max_relative", "against_reference/training/max_relative"},
    {"update_error", "against_reference/training/update_error"},
    {"update_cosine", "against_reference/training/update_cosine"},
};

}  // namespace

std::string csv_report(const json& report) {
  std::string out;
  for (const CsvColumn& column : columns) out += fmt::format("{},", column.title);
  out += "last_loss,reasons,error\r\n";
  for (const json& arm : at(report, "arms")) {
    for (const CsvColumn& column : columns) out += field(plain(at(arm, column.pointer))) + ",";
    const auto loss = last_loss(arm);
    std::string reasons;
    for (const json& reason : at(arm, "verdict/reasons")) {
      reasons += (reasons.empty() ? "" : ";") + text(reason, "code");
    }
    out += fmt::format("{},{},{}\r\n", loss ? fmt::format("{}", *loss) : "", field(reasons),
                       field(text(arm, "error")));
  }
  return out;
}

}  // namespace tetrad::parity
