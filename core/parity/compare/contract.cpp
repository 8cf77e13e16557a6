#include "parity/compare/contract.h"

#include "parity/fields.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

namespace tetrad::parity {

using nlohmann::json;

namespace {

constexpr double terms = 256;          // of "times sqrt(K)": sums are made in blocks of about that many
constexpr double peak_to_error = 2.3;  // rms error of a dense format, in units of bound * rms: 4 / sqrt(3)

// Options of the linear backend that say which values its weights take, and whether x is rounded like them.
constexpr std::array<std::string_view, 6> weight_options = {
    "linear.options.profile", "linear.options.global_scale", "linear.options.forward",
    "linear.options.head",    "linear.options.embedding",    "linear.options.activations"};

struct Bound {
  double value = 0;
  bool declared = true;
};

std::string dtype_of(const json& arm) {
  return text(arm, "identity/dtype");
}

Bound product_bound(const json& arm, const std::string& dtype) {
  const auto declared = number(arm, ("numerics/linear/bounds/" + dtype).c_str());
  const double value = declared.value_or(unit_roundoff(dtype));
  return {dtype == "float32" ? value * std::sqrt(terms) : value, declared.has_value()};
}

double kv_bound(const json& arm, const std::string& dtype) {
  return number(arm, ("numerics/kv_cache/bounds/" + dtype).c_str()).value_or(0);
}

double weight_error(const json& arm) {
  const std::string reference = text(arm, "numerics/linear/weights/reference");
  if (reference == "nvfp4") return nvfp4_weight_error;
  return peak_to_error * number(arm, "numerics/linear/weights/bound").value_or(0);
}

bool weights_by_other_rules(const json& reference, const json& own, const json& differs) {
  // What is not declared (logits from elsewhere) is taken as the reference's: a stricter tolerance, not a
  // looser one.
  const json& a = at(reference, "numerics/linear/weights");
  const json& b = at(own, "numerics/linear/weights");
  if (!a.is_null() && !b.is_null() && a != b) return true;
  if (!differs.is_array()) return false;
  return std::any_of(differs.begin(), differs.end(), [](const json& one) {
    const std::string key = text(one, "key");
    return std::find(weight_options.begin(), weight_options.end(), key) != weight_options.end();
  });
}

}  // namespace

double unit_roundoff(const std::string& dtype) {
  if (dtype == "float32") return std::ldexp(1.0, -24);
  if (dtype == "float16") return std::ldexp(1.0, -11);
  return std::ldexp(1.0, -8);
}

Contract contract_of(const json& reference, const json& own, const json& differs) {
  const std::string a_dtype = dtype_of(reference).empty() ? dtype_of(own) : dtype_of(reference);
  const std::string b_dtype = dtype_of(own).empty() ? a_dtype : dtype_of(own);
  const Bound a = product_bound(reference, a_dtype);
  const Bound b = product_bound(own, b_dtype);
  const double square = a.value * a.value + b.value * b.value + std::pow(kv_bound(reference, a_dtype), 2) +
                        std::pow(kv_bound(own, b_dtype), 2);
  Contract contract;
  contract.declared = a.declared && b.declared;
  contract.same_dtype = a_dtype == b_dtype;
  contract.same_weights = !weights_by_other_rules(reference, own, differs);
  contract.arithmetic = std::sqrt(square);
  if (!contract.same_weights) contract.weights = std::hypot(weight_error(reference), weight_error(own));
  contract.rounding = std::hypot(contract.arithmetic, contract.weights);
  return contract;
}

double Contract::kl_max(double spread) const {
  return std::pow(spread * std::hypot(depth_max * arithmetic, weights_depth_max * weights), 2) / 2;
}

double Contract::kl_mean(double spread) const {
  return std::pow(spread * std::hypot(depth_mean * arithmetic, weights_depth_mean * weights), 2) / 2;
}

double Contract::max_logit(double spread, std::int64_t positions, std::int64_t vocabulary) const {
  const double values = std::max(2.0, static_cast<double>(positions) * static_cast<double>(vocabulary));
  return 2 * std::sqrt(2 * kl_max(spread)) * std::sqrt(2 * std::log(values));
}

}  // namespace tetrad::parity
