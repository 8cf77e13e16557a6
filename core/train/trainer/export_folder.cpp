#include "train/trainer/export_folder.h"

#include "checkpoint/convert.h"
#include "io/atomic_file.h"
#include "io/json.h"
#include "model/plugin_call.h"

#include <utility>

namespace tetrad::train {
namespace fs = std::filesystem;
namespace {

const char* torch_name(at::ScalarType dtype) {
  return dtype == at::kFloat ? "float32" : dtype == at::kHalf ? "float16" : "bfloat16";
}

at::Tensor values_of(model::Transformer& model, const Parameter& parameter, WeightId id) {
  if (id < 0) return model.norm_weight(parameter);
  at::Tensor values;
  model::check(model.backend().dequantized(id, values), model.backend_id(),
               "dequantized of " + parameter.name);
  return values;
}

WeightId matrix_id(const model::Transformer& model, const Parameter& parameter) {
  using Block = model::Transformer::Block;
  if (model.embedding().parameter == &parameter) return model.embedding().id;
  if (model.head().parameter == &parameter) return model.head().id;
  for (const Block& b : model.blocks())
    for (const auto* matrix : {&b.q, &b.k, &b.v, &b.o, &b.gate, &b.up, &b.down})
      if (matrix->parameter == &parameter) return matrix->id;
  return -1;
}

}  // namespace

io::DType export_dtype(at::ScalarType dtype) {
  return dtype == at::kFloat ? io::DType::f32 : dtype == at::kHalf ? io::DType::f16 : io::DType::bf16;
}

at::Tensor exported_values(model::Transformer& model, const Parameter& parameter) {
  return values_of(model, parameter, matrix_id(model, parameter)).to(model.setup().dtype).cpu().contiguous();
}

std::vector<std::string> write_companions(const fs::path& source, const fs::path& target,
                                          at::ScalarType dtype, const nlohmann::json& quantization) {
  nlohmann::json config = io::read_json(source / "config.json");
  config.erase("quantization_config");  // of a source that was quantised: these weights are other ones
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = torch_name(dtype);
  if (!quantization.is_null()) config["quantization_config"] = quantization;
  io::write_file(target / "config.json", config.dump(2) + "\n");
  std::vector<std::string> files = {"config.json"};
  for (std::string& name : checkpoint::copy_companions(source, target)) files.push_back(std::move(name));
  return files;
}

}  // namespace tetrad::train
