#include "ops/cuda/cuda_train_ops.h"

#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>
#include <tetrad/nvfp4/cuda.h>

#include <type_traits>

#include "ops/cuda/tensor_args.h"
#include "ops/cuda/train_kernels.h"

namespace tetrad::device {
namespace {

namespace kernels = ops::cuda;

at::Tensor floats(std::int64_t count, const at::Tensor& like) {
  return at::empty({count}, like.options().dtype(at::kFloat));
}

kernels::RopeRows rope_args(const TrainRotation& r) {
  kernels::RopeRows a;
  a.tokens = r.q.size(0);
  a.heads = r.q.size(1);
  a.kv_heads = r.k.size(1);
  a.dim = r.q.size(2);
  a.q = r.q.const_data_ptr();
  a.k = r.k.const_data_ptr();
  a.q_weight = r.q_weight.defined() ? r.q_weight.const_data_ptr() : nullptr;
  a.k_weight = r.k_weight.defined() ? r.k_weight.const_data_ptr() : nullptr;
  a.eps = r.eps;
  a.cos = r.cos.const_data_ptr();
  a.sin = r.sin.const_data_ptr();
  a.positions = read_as<std::int64_t>(r.positions);
  a.q_out = r.q_out.mutable_data_ptr();
  a.k_out = r.k_out.mutable_data_ptr();
  return a;
}

}  // namespace

bool TorchCudaTrainOps::takes_norm_backward(std::int64_t n) {
  return kernels::takes_norm_backward(n);
}

void TorchCudaTrainOps::rms_norm_backward(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight,
                                          double eps, const at::Tensor& passing, const at::Tensor& dx,
                                          const at::Tensor& dweight) {
  const c10::cuda::CUDAGuard on(x.device());
  const std::int64_t n = weight.size(0), rows = x.numel() / n;
  const at::Tensor workspace = floats(kernels::norm_backward_workspace(rows, n), x);
  with_type(x, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    kernels::rms_norm_backward<T>(read_as<T>(dy), read_as<T>(x), read_as<T>(weight), read_as<T>(passing), eps,
                                  rows, n, write_as<T>(dx), write_as<float>(dweight),
                                  write_as<float>(workspace), stream_of(x));
  });
}

void TorchCudaTrainOps::silu_mul_backward(const at::Tensor& dh, const at::Tensor& gate,
                                          const at::Tensor& up) {
  const c10::cuda::CUDAGuard on(gate.device());
  with_type(gate, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    kernels::silu_mul_backward<T>(write_as<T>(dh), write_as<T>(gate), write_as<T>(up), gate.numel(),
                                  stream_of(gate));
  });
}

bool TorchCudaTrainOps::takes_rotation(std::int64_t dim) {
  return kernels::takes_rope_rows(dim);
}

void TorchCudaTrainOps::rotate(const TrainRotation& r) {
  const c10::cuda::CUDAGuard on(r.q.device());
  const kernels::RopeRows a = rope_args(r);
  with_type(r.q,
            [&](auto* tag) { kernels::rope_rows<std::remove_pointer_t<decltype(tag)>>(a, stream_of(r.q)); });
}

void TorchCudaTrainOps::rotate_backward(const TrainRotation& r) {
  const c10::cuda::CUDAGuard on(r.q.device());
  kernels::RopeRows a = rope_args(r);
  const at::Tensor workspace = floats(kernels::rope_rows_workspace(a.dim), r.q);
  a.workspace = write_as<float>(workspace);
  a.dq = r.dq.const_data_ptr();
  a.dk = r.dk.const_data_ptr();
  a.dq_weight = r.q_weight.defined() ? write_as<float>(r.dq_weight) : nullptr;
  a.dk_weight = r.k_weight.defined() ? write_as<float>(r.dk_weight) : nullptr;
  with_type(r.q, [&](auto* tag) {
    kernels::rope_rows_backward<std::remove_pointer_t<decltype(tag)>>(a, stream_of(r.q));
  });
}

void TorchCudaTrainOps::cross_entropy_observe(const at::Tensor& logits, const at::Tensor& targets,
                                              std::int64_t first, const at::Tensor& largest,
                                              const at::Tensor& sum, const at::Tensor& at_target) {
  const c10::cuda::CUDAGuard on(logits.device());
  with_type(logits, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    kernels::cross_entropy_observe<T>(read_as<T>(logits), logits.size(0), logits.size(1),
                                      read_as<std::int64_t>(targets), first, write_as<float>(largest),
                                      write_as<float>(sum), write_as<float>(at_target), stream_of(logits));
  });
}

void TorchCudaTrainOps::cross_entropy_gradient(const at::Tensor& logits, const at::Tensor& targets,
                                               std::int64_t first, const at::Tensor& largest,
                                               const at::Tensor& sum, double scale) {
  const c10::cuda::CUDAGuard on(logits.device());
  with_type(logits, [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    kernels::cross_entropy_gradient<T>(write_as<T>(logits), logits.size(0), logits.size(1),
                                       read_as<std::int64_t>(targets), first, read_as<float>(largest),
                                       read_as<float>(sum), static_cast<float>(scale), stream_of(logits));
  });
}

CudaTrainOps::Stored TorchCudaTrainOps::measure_and_quantize(const at::Tensor& values,
                                                             const at::Tensor& codes,
                                                             const at::Tensor& scales) {
  const c10::cuda::CUDAGuard on(values.device());
  const at::Tensor space = floats(3, values);  // encode, decode, norm
  auto* const words = write_as<float>(space);
  auto* const global = reinterpret_cast<nvfp4::GlobalScale*>(words);
  const at::Tensor parts = floats(kernels::measure_workspace() / 4, values);
  const std::int64_t rows = values.size(0), cols = values.size(1);
  const nvfp4::EncodeOptions options;
  const auto encode = [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T* from = read_as<T>(values);
    kernels::measure(from, rows * cols, options, words + 2, global, parts.mutable_data_ptr(),
                     stream_of(values));
    nvfp4::cuda::quantize(from, rows, cols, cols, global, options, write_as<std::uint8_t>(codes),
                          write_as<std::uint8_t>(scales), {}, stream_of(values));
  };
  if (values.scalar_type() == at::kFloat)
    encode(static_cast<float*>(nullptr));
  else
    with_type(values, encode);
  return {space.narrow(0, 1, 1), space.select(0, 2)};
}

}  // namespace tetrad::device
