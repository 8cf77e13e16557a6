#include "check/linear_cases.h"

#include "check/linear_rig.h"

#include <fmt/format.h>

#include <algorithm>
#include <variant>

namespace tetrad::check {
namespace {

// A doubled or halved scale is an error of one half or more of the value: a contract that allows it says
// nothing.
constexpr double bound_limit = 0.5;

bool has(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::vector<at::ScalarType> claimed_dtypes(const Claims& claims) {
  std::vector<at::ScalarType> result;
  for (const std::string& name : claims.dtypes) {
    if (const auto dtype = dtype_of(name)) result.push_back(*dtype);
  }
  return result;
}

// What plugin.json must say so that the rest can be checked at all.
Result check_contract(const Target& target) {
  const Contract& contract = target.contract;
  require(
      !contract.claims.support.empty(),
      fmt::format("plugin.json: capabilities say nothing about device {}", target.cuda() ? "cuda" : "cpu"));
  require(!claimed_dtypes(contract.claims).empty(),
          "plugin.json: capabilities.dtypes names none of bfloat16, float16, float32");
  for (const std::string& path : contract.claims.paths)
    require(path == "training" || path == "bridge",
            fmt::format("plugin.json: capabilities.paths: '{}' is not training or bridge", path));
  require(!contract.claims.paths.empty(),
          "plugin.json: capabilities.paths names neither training nor bridge");
  require(contract.deterministic.has_value(), "plugin.json: numerics.deterministic is missing");
  std::string text;
  for (const at::ScalarType dtype : claimed_dtypes(contract.claims)) {
    const auto bound = contract.bound(dtype);
    require(bound.has_value(), fmt::format("plugin.json: numerics.bounds has no '{}'", dtype_name(dtype)));
    require(*bound < bound_limit,
            fmt::format("plugin.json: numerics.bounds.{} is {}: a scale that is wrong by two would pass",
                        dtype_name(dtype), *bound));
    text += fmt::format("{}{} {:.2g}", text.empty() ? "bounds: " : ", ", dtype_name(dtype), *bound);
  }
  require(
      contract.weights.reference != WeightRule::Reference::undeclared,
      "plugin.json: numerics.weights is missing: it says what the weight that is computed with must be, e.g. "
      "{\"reference\": \"dense\", \"bound\": 0.004, \"group\": \"row\"}");
  require(contract.weights.bound < bound_limit,
          fmt::format("plugin.json: numerics.weights.bound is {}: a scale that is wrong by two would pass",
                      contract.weights.bound));
  return {text, {}, {}};
}

// Whether the reason is an option that was set: claims are made for the others' defaults. It begins with it,
// "KEY: VALUE ...".
bool names_an_option(const Target& target, const std::string& reason) {
  const auto& options = target.options.at("linear").values();
  return std::any_of(options.begin(), options.end(), [&](const auto& option) {
    const auto* value = std::get_if<std::string>(&option.second);
    return value != nullptr && reason.starts_with(option.first + ": " + *value + " ");
  });
}

// The object's answers against plugin.json, for every path and dtype there is.
Result check_claims(const Target& target) {
  int answers = 0;
  for (const Path path : {Path::training, Path::bridge}) {
    for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat, at::kDouble, at::kInt}) {
      LinearRig rig(target, path, dtype);
      const Capability answer = rig.backend.capability(rig.setup);
      const std::string what =
          fmt::format("capability of path {}, dtype {}", path_name(path), dtype_name(dtype));
      const bool claimed = target.contract.claims.support != "unsupported" &&
                           has(target.contract.claims.paths, path_name(path)) &&
                           has(target.contract.claims.dtypes, dtype_name(dtype));
      const bool supported = answer.support != Support::unsupported;
      require(!supported || !answer.compute.empty(), what + ": supported, but `compute` is empty");
      require(supported || !answer.reason.empty(), what + ": unsupported without a reason");
      require(supported || !claimed || names_an_option(target, answer.reason),
              fmt::format("{}: plugin.json claims it, the answer is unsupported: {}", what, answer.reason));
      require(claimed || !supported, fmt::format("{}: the answer is {}, but plugin.json does not claim it",
                                                 what, support_name(answer.support)));
      require(!claimed || answer.support == Support::native || target.contract.claims.support == "emulated",
              fmt::format("{}: plugin.json claims {}, the answer is {}", what, target.contract.claims.support,
                          support_name(answer.support)));
      const Status status = rig.backend.configure(rig.setup);
      if (supported) {
        require_ok(status, what + " is supported, but configure");
      } else {
        require_refused(status, what + " is unsupported, but configure");
      }
      ++answers;
    }
  }
  return {fmt::format("{} answers", answers), {}, {}};
}

}  // namespace

std::vector<Case> linear_cases(const Target& target) {
  std::vector<Case> cases;
  cases.push_back({"linear/contract", [&target] { return check_contract(target); }});
  cases.push_back({"linear/claims", [&target] { return check_claims(target); }});
  const Claims& claims = target.contract.claims;
  if (claims.support == "unsupported" || claims.support.empty()) return cases;
  using Check = Result (*)(const Target&, LinearPoint);
  for (const Path path : {Path::training, Path::bridge}) {
    if (!has(claims.paths, path_name(path))) continue;
    for (const at::ScalarType dtype : claimed_dtypes(claims)) {
      const auto add = [&](const char* name, Check check, bool twice = false) {
        cases.push_back({fmt::format("linear/{}/{}/{}", name, path_name(path), dtype_name(dtype)),
                         [&target, check, path, dtype] {
                           return check(target, {path, dtype});
                         },
                         twice});
      };
      add("lifecycle", check_lifecycle);
      add("parameter", check_parameter_kept);
      add("weights", check_weights);
      if (has(claims.weight_formats, "nvfp4_hi")) add("planes", check_planes);
      if (has(claims.weight_formats, "nvfp4_hi_lo")) add("tied-planes", check_tied_planes);
      add("forward", check_forward);
      add("forward-by-element", check_forward_by_element);
      add("gather", check_gather);
      add("views", check_views);
      if (path == Path::training) {
        add("grad-input", check_grad_input);
        add("grad-weight", check_grad_weight);
        add("sampling-only", check_sampling_only);
        add("eval-cache", check_eval_cache);
        add("stale", check_stale);
      }
      add("deterministic", check_deterministic, target.contract.deterministic.value_or(false));
      add("bad-prepare", check_bad_prepare);
      add("bad-calls", check_bad_calls);
      add("bad-weights", check_bad_weights);
      add("bad-inputs", check_bad_inputs);
    }
  }
  return cases;
}

}  // namespace tetrad::check
