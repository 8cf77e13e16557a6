#include "check/contract.h"

#include <c10/core/ScalarType.h>

namespace tetrad::check {
namespace {

using nlohmann::json;

std::vector<std::string> texts(const json& object, const char* key) {
  std::vector<std::string> result;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return result;
  for (const json& each : *found) {
    if (each.is_string()) result.push_back(each.get<std::string>());
  }
  return result;
}

// The option where the plugin has one of that name, else what plugin.json says, else `preset`.
std::string word(const Options& options, const json& rule, const char* key, const std::string& preset) {
  for (const auto& [name, value] : options.values()) {
    if (name == key && std::holds_alternative<std::string>(value)) return std::get<std::string>(value);
  }
  const auto found = rule.find(key);
  return found != rule.end() && found->is_string() ? found->get<std::string>() : preset;
}

WeightRule read_weights(const json& numerics, const Options& options) {
  WeightRule rule;
  const auto found = numerics.find("weights");
  if (found == numerics.end() || !found->is_object()) return rule;
  const auto reference = found->value("reference", "");
  if (reference == "dense") {
    rule.reference = WeightRule::Reference::dense;
    rule.bound = found->value("bound", 0.0);
    const json group = found->value("group", json("row"));
    rule.group = group.is_number_integer() ? group.get<std::int64_t>() : group == "tensor" ? 0 : -1;
  } else if (reference == "nvfp4") {
    rule.reference = WeightRule::Reference::nvfp4;
    const std::string profile = word(options, *found, "profile", "te");
    using nvfp4::Profile;
    rule.encode.profile = profile == "torchao_inference"    ? Profile::torchao_inference
                          : profile == "modelopt"           ? Profile::modelopt
                          : profile == "compressed_tensors" ? Profile::compressed_tensors
                                                            : Profile::te;
    rule.encode.global = word(options, *found, "global_scale", "power_of_two") == "exact"
                             ? nvfp4::GlobalRule::exact
                             : nvfp4::GlobalRule::power_of_two;
  }
  return rule;
}

}  // namespace

std::string dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kFloat:
      return "float32";
    default:
      return c10::toString(dtype);
  }
}

std::optional<at::ScalarType> dtype_of(const std::string& name) {
  for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
    if (dtype_name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

std::optional<double> Contract::bound(at::ScalarType dtype) const {
  const auto found = bounds.find(dtype_name(dtype));
  if (found == bounds.end()) return std::nullopt;
  return found->second;
}

Contract read_contract(const json& capabilities, const json& numerics, const Options& options,
                       const std::string& device) {
  Contract contract;
  for (const json& claim : capabilities) {
    if (claim.value("device", "") != device) continue;
    contract.claims = {claim.value("support", ""), texts(claim, "paths"), texts(claim, "dtypes"),
                       texts(claim, "weight_formats"), texts(claim, "kv_bits")};
  }
  const auto deterministic = numerics.find("deterministic");
  if (deterministic != numerics.end())
    contract.deterministic = deterministic->is_boolean() ? deterministic->get<bool>() : true;
  if (numerics.contains("bounds")) {
    for (const auto& [dtype, bound] : numerics.at("bounds").items()) {
      if (bound.is_number()) contract.bounds[dtype] = bound.get<double>();
    }
  }
  contract.weights = read_weights(numerics, options);
  contract.rounds_activations = word(options, numerics, "activations", "dense") == "nvfp4";
  return contract;
}

}  // namespace tetrad::check
