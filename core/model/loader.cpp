#include "model/loader.h"

#include "model/names.h"
#include "model/plugin_call.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <tetrad/base/error.h>

#include <cstring>
#include <span>
#include <utility>

namespace tetrad::model {
namespace {

at::ScalarType scalar_type(const checkpoint::Tensor& tensor) {
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

// The stored bytes as a tensor. It borrows them, unless they lie where elements of that type must not.
at::Tensor borrow(std::span<const std::byte> bytes, at::IntArrayRef shape, at::ScalarType dtype) {
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
  if (address % c10::elementSize(dtype) != 0) {
    at::Tensor aligned = at::empty(shape, at::TensorOptions().dtype(dtype));
    std::memcpy(aligned.mutable_data_ptr(), bytes.data(), bytes.size());
    return aligned;
  }
  // from_blob wants a mutable pointer; the mapping is read-only and the values are only read.
  return at::from_blob(const_cast<std::byte*>(bytes.data()), shape, at::TensorOptions().dtype(dtype));
}

// A copy of the stored values in the run's dtype and device.
at::Tensor materialise(const checkpoint::Tensor& tensor, const LinearSetup& setup) {
  at::Tensor own = at::empty(tensor.shape, at::TensorOptions().dtype(setup.dtype).device(setup.device));
  own.copy_(borrow(tensor.bytes, tensor.shape, scalar_type(tensor)));
  return own;
}

// A copy of packed bytes [rows, columns] on the run's device.
at::Tensor copy_bytes(std::span<const std::byte> bytes, std::int64_t rows, const LinearSetup& setup) {
  const std::vector<std::int64_t> shape{rows, static_cast<std::int64_t>(bytes.size()) / rows};
  at::Tensor own = at::empty(shape, at::TensorOptions().dtype(at::kByte).device(setup.device));
  own.copy_(borrow(bytes, shape, at::kByte));
  return own;
}

void load_planes(const checkpoint::Tensor& tensor, const LinearSetup& setup, Parameter& parameter) {
  const checkpoint::Planes& stored = *tensor.planes;
  const std::int64_t rows = tensor.shape[0];
  parameter.planes.codes = copy_bytes(stored.codes, rows, setup);
  parameter.planes.scales = copy_bytes(stored.scales, rows, setup);
  parameter.planes.decode_scale = stored.global.factor();
  parameter.format = Format::nvfp4_hi;
  if (!stored.lo_codes.empty()) {
    parameter.planes.lo_codes = copy_bytes(stored.lo_codes, rows, setup);
    parameter.format = Format::nvfp4_hi_lo;
  }
}

}  // namespace

LoadedWeights load_weights(const checkpoint::Checkpoint& files, const ModelConfig& config,
                           const LinearSetup& setup, LinearBackend& backend, const std::string& backend_id,
                           const LoadProgress& progress, const OnParameter& on_parameter) {
  files.check_names(config);
  std::unordered_map<std::string, ExpectedTensor> expected;
  for (ExpectedTensor& tensor : expected_tensors(config)) expected.emplace(tensor.name, std::move(tensor));

  LoadedWeights loaded;
  std::uint64_t done = 0;
  const auto& stored = files.tensors();
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const checkpoint::Tensor& tensor = stored[i];
    if (i + 1 < stored.size()) files.prefetch(stored[i + 1]);
    const auto wanted = expected.find(tensor.name);
    if (wanted != expected.end()) {
      Parameter& parameter = loaded.parameters.emplace_back();
      parameter.name = tensor.name;
      parameter.shape = tensor.shape;
      parameter.role = role_of(wanted->second.role);
      if (tensor.planes) {
        checkpoint::check_block_scales(tensor, files.path().string());
        load_planes(tensor, setup, parameter);
      } else {
        parameter.format = dense_format(setup.dtype);
        parameter.dense = materialise(tensor, setup);
        parameter.keep_dense = files.quantised();
      }
      parameter.gradient_contributions = wanted->second.uses;
      if (on_parameter) on_parameter(parameter);
      if (parameter.shape.size() == 2) {
        WeightId id = -1;
        check(backend.prepare(parameter, id), backend_id, "prepare of " + parameter.name);
        loaded.prepared.emplace(parameter.name, id);
      }
    }
    files.release(tensor);
    done += tensor.stored_bytes;
    if (progress) progress(done, files.tensor_bytes());
  }
  return loaded;
}

}  // namespace tetrad::model
