// What every export of a trained model has in common: the files beside the weights, and a parameter's values
// as the model computes with them.
#pragma once

#include "io/dtype.h"
#include "model/transformer.h"

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace tetrad::train {

io::DType export_dtype(at::ScalarType dtype);
// On the host, contiguous, in the run's dtype.
at::Tensor exported_values(model::Transformer& model, const Parameter& parameter);
// config.json of `source` with the run's dtype and, where it is not null, a quantization_config; then
// tokenizer and the like. Returns the names of the files written.
std::vector<std::string> write_companions(const std::filesystem::path& source,
                                          const std::filesystem::path& target, at::ScalarType dtype,
                                          const nlohmann::json& quantization);

}  // namespace tetrad::train
