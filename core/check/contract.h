// What a plugin says about itself in plugin.json, as far as it can be checked: what it claims to support, and
// the numerics contract. What does not fit the forms that docs/plugins.md gives counts as not declared.
//
//   capabilities: paths, dtypes, weight_formats, kv_bits, support of the device
//   numerics.deterministic    true | false | a text: deterministic under run.deterministic
//   numerics.bounds           {dtype: b}: an element of a result may be off exact arithmetic on the plugin's
//                             own dequantised weights by b * sum |x * w| (float32: b * sqrt(terms) * ...);
//                             16-bit dtypes, where those weights were rounded to be shown: one rounding more
//   numerics.weights          what the dequantised weight is to the parameter's values:
//     {"reference": "dense", "bound": b, "group": "row" | "tensor" | n}  off by at most b * max |w| of its
//                             row, its tensor or its n columns of a row; b = 0 (the default): equal
//     {"reference": "nvfp4", "profile": "te", "global_scale": "power_of_two"}  tetrad/nvfp4, bit for bit;
//                             options called profile and global_scale take precedence
//   numerics.activations      "nvfp4": products of quantised weights read x rounded to NVFP4 (blocks of
//                             1 x 16, profile te, the power-of-two scale of x's amax); an option of that name
//                             takes precedence. "dense", or nothing: x as it is
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/base/options.h>
#include <tetrad/nvfp4/profile.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::check {

struct WeightRule {
  enum class Reference : std::uint8_t { undeclared, dense, nvfp4 } reference = Reference::undeclared;
  double bound = 0.0;
  std::int64_t group = -1;  // columns of a row that share a bound; -1: the row, 0: the tensor
  nvfp4::EncodeOptions encode;
};

struct Claims {
  std::string support;  // native | emulated | unsupported; "" when nothing is claimed for the device
  std::vector<std::string> paths, dtypes, weight_formats, kv_bits;
};

struct Contract {
  Claims claims;
  std::optional<bool> deterministic;
  std::map<std::string, double> bounds;
  WeightRule weights;
  bool rounds_activations = false;

  std::optional<double> bound(at::ScalarType dtype) const;
};

// `capabilities` as plugin::Metadata has them (one entry for each device); `device` is cpu or cuda.
Contract read_contract(const nlohmann::json& capabilities, const nlohmann::json& numerics,
                       const Options& options, const std::string& device);

// "bfloat16" and back; nullopt for dtypes that no run computes in.
std::string dtype_name(at::ScalarType dtype);
std::optional<at::ScalarType> dtype_of(const std::string& name);

}  // namespace tetrad::check
