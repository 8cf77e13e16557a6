#include "ops/cross_entropy.h"

#include "device/cuda_ops.h"

#include <ATen/ops/amax.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <limits>

namespace tetrad::ops {
namespace {

struct InTile {
  at::Tensor inside;  // bool [M]: the target is a word of this tile
  at::Tensor column;  // int64 [M, 1]: which; 0 where it is not
};

InTile find(const at::Tensor& targets, std::int64_t first, std::int64_t count) {
  const at::Tensor offset = targets.sub(first);
  const at::Tensor inside = offset.ge(0).logical_and_(offset.lt(count));
  return {inside, offset.masked_fill(inside.logical_not(), 0).unsqueeze(1)};
}

}  // namespace

TiledCrossEntropy::TiledCrossEntropy(const at::Tensor& targets, at::ScalarType wide) : targets_(targets) {
  const auto options = targets.options().dtype(wide);
  largest_ = at::full({targets.size(0)}, -std::numeric_limits<double>::infinity(), options);
  sum_ = at::zeros({targets.size(0)}, options);
  at_target_ = at::zeros({targets.size(0)}, options);
}

bool TiledCrossEntropy::in_one_pass(at::Device device, at::ScalarType dtype) noexcept {
  return device.is_cuda() && device::cuda_ops() != nullptr && (dtype == at::kBFloat16 || dtype == at::kHalf);
}

void TiledCrossEntropy::observe(const at::Tensor& logits, std::int64_t first) {
  if (device::CudaOps* cuda = device::cuda_ops_for(logits);
      cuda != nullptr && targets_.is_contiguous() && largest_.scalar_type() == at::kFloat) {
    cuda->training().cross_entropy_observe(logits, targets_, first, largest_, sum_, at_target_);
    return;
  }
  const at::Tensor wide = logits.to(largest_.scalar_type());
  const at::Tensor largest = at::maximum(largest_, at::amax(wide, at::IntArrayRef{1}));
  const at::Tensor here = at::sum(at::exp(wide.sub(largest.unsqueeze(1))), at::IntArrayRef{1});
  sum_ = sum_.mul(at::exp(largest_.sub(largest))).add_(here);
  largest_ = largest;
  const InTile tile = find(targets_, first, logits.size(1));
  at_target_ = at::where(tile.inside, at::gather(wide, 1, tile.column).squeeze(1), at_target_);
}

at::Tensor TiledCrossEntropy::negative_log_likelihood() const {
  return at::log(sum_).add_(largest_).sub_(at_target_);
}

at::Tensor TiledCrossEntropy::gradient(const at::Tensor& logits, std::int64_t first, double scale) const {
  const at::Tensor lse = at::log(sum_).add_(largest_).unsqueeze(1);
  const at::Tensor p = logits.to(largest_.scalar_type()).sub(lse).exp_();
  const InTile tile = find(targets_, first, logits.size(1));
  p.scatter_add_(1, tile.column, tile.inside.to(p.scalar_type()).neg().unsqueeze(1));
  return p.mul_(scale).to(logits.scalar_type());
}

void TiledCrossEntropy::turn_into_gradient(const at::Tensor& logits, std::int64_t first, double scale) const {
  if (device::CudaOps* cuda = device::cuda_ops_for(logits);
      cuda != nullptr && targets_.is_contiguous() && largest_.scalar_type() == at::kFloat) {
    cuda->training().cross_entropy_gradient(logits, targets_, first, largest_, sum_, scale);
    return;
  }
  logits.copy_(gradient(logits, first, scale));
}

}  // namespace tetrad::ops
