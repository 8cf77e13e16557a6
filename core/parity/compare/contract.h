// What two arms may differ by according to what their plugins declare (metadata "numerics"): the relative
// error that one operation may bring between them, and from it what the logits may show. Rules of thumb,
// measured on the default model and explained in docs/parity.md:
//
//   arithmetic^2 = product_a^2 + product_b^2 + kv_a^2 + kv_b^2
//     product  linear's bounds[dtype] (float32: times 16, for its contract says "times sqrt(K)" and sums are
//              made in blocks); where a plugin declares none, the unit roundoff of the dtype
//     kv       the KV policy's bounds[dtype]
//   weights      0 where both arms' weights are the same by contract, else what storing them costs: NVFP4 0.1
//                (root mean square of a weight's relative error), a dense format's bound times 2.3
//   rounding^2   = arithmetic^2 + weights^2
//   KL of a position  <= spread^2 / 2 * ((32 arithmetic)^2 + (12 weights)^2)
//   KL on average     <= spread^2 / 2 * ((10 arithmetic)^2 + (4 weights)^2)
//   logit difference  <= 2 * sqrt(2 * KL of a position) * sqrt(2 ln(T V)): the greatest of T V normal errors,
//   twice,
//                        because a few positions have many times the error of the others
// spread is the standard deviation of the reference's logits. A relative error e of the last hidden state
// makes logit errors of about e * spread, and KL = var(logit error) / 2 for small ones.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>

namespace tetrad::parity {

inline constexpr double depth_max = 32, weights_depth_max = 12;
inline constexpr double depth_mean = 10, weights_depth_mean = 4;
inline constexpr double nvfp4_weight_error = 0.1;

struct Contract {
  double arithmetic = 0, weights = 0;
  double rounding = 0;
  bool declared = true;      // false: a plugin declares no bound for its dtype, its unit roundoff was taken
  bool same_weights = true;  // by contract: the same rule makes both arms' weights from the same files
  bool same_dtype = true;

  double kl_max(double spread) const;
  double kl_mean(double spread) const;
  double max_logit(double spread, std::int64_t positions, std::int64_t vocabulary) const;
};

// `reference` and `own`: arm.json of each; `differs`: the arm's list of differing keys in plan.json.
Contract contract_of(const nlohmann::json& reference, const nlohmann::json& own,
                     const nlohmann::json& differs);

// Unit roundoff: bfloat16 2^-8, float16 2^-11, float32 2^-24; bfloat16's for other names.
double unit_roundoff(const std::string& dtype);

}  // namespace tetrad::parity
