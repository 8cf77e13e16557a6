#include "generate/device_sampler.h"

#include "device/cuda_ops.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace tetrad::generate {

std::optional<Choice> DeviceSampler::pick(const at::Tensor& logits, std::span<const std::int32_t> context,
                                          Sampler& sampler) {
  device::CudaOps* ops = logits.is_cuda() ? device::cuda_ops() : nullptr;
  if (ops == nullptr || logits.scalar_type() != at::kFloat || !logits.is_contiguous() ||
      !ops->takes_sampling(logits.numel(), sampler.rule()))
    return std::nullopt;
  const bool penalty = sampler.rule().penalty != 1.0;
  if (penalty) mark(logits, context);
  const device::Sampled sampled =
      ops->sample(logits, sampler.rule(), sampler.next_bits(), penalty ? seen_ : at::Tensor());
  if (!sampled.served || !sampled.best.finite) return std::nullopt;
  sampler.skip();
  return Choice{static_cast<std::int32_t>(sampled.best.id), sampled.best.top1, sampled.best.top2};
}

void DeviceSampler::mark(const at::Tensor& logits, std::span<const std::int32_t> context) {
  const bool continues = seen_.defined() && seen_.numel() == logits.numel() &&
                         seen_.device() == logits.device() && marked_.size() <= context.size() &&
                         std::equal(marked_.begin(), marked_.end(), context.begin());
  if (!continues) {
    marked_.clear();
    seen_ = at::zeros({logits.numel()}, logits.options().dtype(at::kByte));
  }
  std::vector<std::int64_t> ids;
  for (const std::int32_t id : context.subspan(marked_.size()))
    if (id >= 0 && id < logits.numel()) ids.push_back(id);
  if (!ids.empty()) seen_.index_fill_(0, at::tensor(ids, at::kLong).to(logits.device()), 1);
  marked_.assign(context.begin(), context.end());
}

}  // namespace tetrad::generate
