#include "model/loader.h"

#include "model/names.h"
#include "model/plugin_call.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <tetrad/base/error.h>

#include <utility>

namespace tetrad::model {
namespace {

at::ScalarType scalar_type(const io::TensorView& tensor) {
  switch (tensor.dtype) {
    case io::DType::f32:
      return at::kFloat;
    case io::DType::bf16:
      return at::kBFloat16;
    case io::DType::f16:
      return at::kHalf;
    case io::DType::f64:
      return at::kDouble;
    default:
      break;
  }
  throw Error("[weights] tensor '" + tensor.name + "' is stored as " + io::dtype_name(tensor.dtype) +
              "; weights must be F32, BF16, F16 or F64");
}

Role role_of(TensorRole role) {
  return role == TensorRole::embedding ? Role::embedding
         : role == TensorRole::norm    ? Role::norm
                                       : Role::linear;
}

Format dense_format(at::ScalarType dtype) {
  return dtype == at::kFloat ? Format::fp32 : dtype == at::kHalf ? Format::fp16 : Format::bf16;
}

// A copy of the stored values in the run's dtype and device.
at::Tensor materialise(const io::TensorView& tensor, const LinearSetup& setup) {
  // from_blob wants a mutable pointer; the mapping is read-only and copy_ only reads.
  auto* bytes = const_cast<std::byte*>(tensor.bytes.data());
  const at::Tensor stored =
      at::from_blob(bytes, tensor.shape, at::TensorOptions().dtype(scalar_type(tensor)));
  at::Tensor own = at::empty(tensor.shape, at::TensorOptions().dtype(setup.dtype).device(setup.device));
  own.copy_(stored);
  return own;
}

}  // namespace

LoadedWeights load_weights(const io::WeightFiles& files, const ModelConfig& config, const LinearSetup& setup,
                           LinearBackend& backend, const std::string& backend_id,
                           const LoadProgress& progress, const OnParameter& on_parameter) {
  check_names(files, config);
  std::unordered_map<std::string, ExpectedTensor> expected;
  for (ExpectedTensor& tensor : expected_tensors(config)) expected.emplace(tensor.name, std::move(tensor));

  LoadedWeights loaded;
  std::uint64_t done = 0;
  const auto& stored = files.tensors();
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const io::TensorView& tensor = *stored[i];
    if (i + 1 < stored.size()) files.prefetch(*stored[i + 1]);
    const auto wanted = expected.find(tensor.name);
    if (wanted != expected.end()) {
      Parameter& parameter = loaded.parameters.emplace_back();
      parameter.name = tensor.name;
      parameter.shape = tensor.shape;
      parameter.role = role_of(wanted->second.role);
      parameter.format = dense_format(setup.dtype);
      parameter.dense = materialise(tensor, setup);
      parameter.gradient_contributions = wanted->second.uses;
      if (on_parameter) on_parameter(parameter);
      if (parameter.shape.size() == 2) {
        WeightId id = -1;
        check(backend.prepare(parameter, id), backend_id, "prepare of " + parameter.name);
        loaded.prepared.emplace(parameter.name, id);
      }
    }
    files.release(tensor);
    done += tensor.bytes.size();
    if (progress) progress(done, files.tensor_bytes());
  }
  return loaded;
}

}  // namespace tetrad::model
