// The cases of kind "linear": claims against answers, life cycle, stored weights, products on both paths,
// eval cache, staleness, determinism, bad calls, non-finite values.
#pragma once

#include "check/case.h"
#include "check/target.h"

#include <tetrad/torch/linear.h>

#include <vector>

namespace tetrad::check {

std::vector<Case> linear_cases(const Target& target);

// One combination that the plugin claims.
struct LinearPoint {
  Path path;
  at::ScalarType dtype;
};

// linear_weights.cpp: what prepare() makes of the parameter's values.
Result check_weights(const Target& target, LinearPoint at);
Result check_planes(const Target& target, LinearPoint at);
Result check_tied_planes(const Target& target, LinearPoint at);
Result check_sampling_only(const Target& target, LinearPoint at);
Result check_parameter_kept(const Target& target, LinearPoint at);
// linear_products.cpp: against fp64 on the dequantised weights.
Result check_forward(const Target& target, LinearPoint at);
Result check_forward_by_element(const Target& target, LinearPoint at);
Result check_gather(const Target& target, LinearPoint at);
Result check_grad_input(const Target& target, LinearPoint at);
Result check_grad_weight(const Target& target, LinearPoint at);
Result check_views(const Target& target, LinearPoint at);
// linear_state.cpp: what a backend remembers.
Result check_lifecycle(const Target& target, LinearPoint at);
Result check_eval_cache(const Target& target, LinearPoint at);
Result check_stale(const Target& target, LinearPoint at);
Result check_deterministic(const Target& target, LinearPoint at);
// linear_errors.cpp: calls that must be refused, values that must not be hidden.
Result check_bad_prepare(const Target& target, LinearPoint at);
Result check_bad_calls(const Target& target, LinearPoint at);
Result check_bad_weights(const Target& target, LinearPoint at);
Result check_bad_inputs(const Target& target, LinearPoint at);

}  // namespace tetrad::check
