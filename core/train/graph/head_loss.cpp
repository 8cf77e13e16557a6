#include "train/graph/head_loss.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <utility>

namespace tetrad::train {
namespace {

// Bytes beside each logit of 2 or 4: three fp32 temporaries of the entropy and its gradient, where no kernel
// does without them.
constexpr std::int64_t kBytesPerLogit = 16;
// Rows that the entropy takes at once where the logits are whole: its temporaries then stay in cache.
constexpr std::int64_t kRows = 256;

}  // namespace

HeadLoss::HeadLoss(model::Transformer& model, std::int64_t budget_bytes)
    : model_(model), linear_(model), budget_(budget_bytes), words_(model.config().vocab_size) {}

bool HeadLoss::in_one_pass() const {
  return ops::TiledCrossEntropy::in_one_pass(model_.setup().device, model_.setup().dtype);
}

bool HeadLoss::tiles(std::int64_t tokens) const {
  const std::int64_t size = static_cast<std::int64_t>(c10::elementSize(model_.setup().dtype));
  const std::int64_t temporaries = in_one_pass() ? 0 : std::min(tokens, kRows) * words_ * kBytesPerLogit;
  return tokens * words_ * size + temporaries > budget_;
}

std::int64_t HeadLoss::tile_words(std::int64_t tokens) const {
  const std::int64_t bytes =
      in_one_pass() ? static_cast<std::int64_t>(c10::elementSize(model_.setup().dtype)) : kBytesPerLogit;
  const std::int64_t fit = budget_ / std::max<std::int64_t>(1, tokens * bytes);
  return std::min(words_, std::max<std::int64_t>(64, fit / 64 * 64));
}

at::Tensor HeadLoss::tile_weight(std::int64_t first, std::int64_t count) const {
  return linear_.gather(
      model_.head(),
      at::arange(first, first + count, at::TensorOptions().dtype(at::kLong).device(scored_.device())));
}

at::Tensor HeadLoss::forward(const at::Tensor& x, const StepInput& input) {
  tokens_ = x.size(0);
  scored_ = input.scored;
  targets_ = input.targets;
  const std::int64_t count = scored_.size(0);
  scored_x_ = count == tokens_ ? x : at::index_select(x, 0, scored_);
  if (tiles(count)) {
    entropy_.emplace(targets_);
    const std::int64_t tile = tile_words(count);
    for (std::int64_t first = 0; first < words_; first += tile) {
      const std::int64_t n = std::min(tile, words_ - first);
      entropy_->observe(at::mm(scored_x_, tile_weight(first, n).t()), first);
    }
    return entropy_->negative_log_likelihood();
  }
  if (const std::int64_t more = (input.granule - count % input.granule) % input.granule; more > 0)
    scored_x_ = at::constant_pad_nd(scored_x_, {0, 0, 0, more});
  logits_ = linear_.forward(model_.head(), scored_x_);
  if (in_one_pass()) {
    entropy_.emplace(targets_);
    entropy_->observe(logits_.narrow(0, 0, count), 0);
    return entropy_->negative_log_likelihood();
  }
  const at::Tensor losses = at::empty({count}, logits_.options().dtype(at::kFloat));
  for (std::int64_t row = 0; row < count; row += kRows) {
    const std::int64_t n = std::min(kRows, count - row);
    ops::TiledCrossEntropy entropy(targets_.narrow(0, row, n));
    entropy.observe(logits_.narrow(0, row, n), 0);
    losses.narrow(0, row, n).copy_(entropy.negative_log_likelihood());
  }
  return losses;
}

at::Tensor HeadLoss::whole_backward(double scale, GradientReceiver& gradients) {
  const std::int64_t count = targets_.size(0);
  if (entropy_) entropy_->turn_into_gradient(logits_.narrow(0, 0, count), 0, scale);
  for (std::int64_t row = 0; row < count && !entropy_; row += kRows) {
    const at::Tensor rows = logits_.narrow(0, row, std::min(kRows, count - row));
    ops::TiledCrossEntropy entropy(targets_.narrow(0, row, rows.size(0)));
    entropy.observe(rows, 0);
    entropy.turn_into_gradient(rows, 0, scale);
  }
  // Rows that only fill up are zeros in scored_x_, and so in logits_.
  const at::Tensor dx = linear_.grad_input(model_.head(), logits_);
  gradients.add(*model_.head().parameter, linear_.grad_weight(model_.head(), logits_, scored_x_));
  return dx.narrow(0, 0, count);
}

at::Tensor HeadLoss::tiled_backward(double scale, GradientReceiver& gradients) {
  const std::int64_t count = scored_x_.size(0), hidden = scored_x_.size(1), tile = tile_words(count);
  at::Tensor dw = at::empty({words_, hidden}, scored_x_.options());
  const at::Tensor dx = at::zeros({count, hidden}, scored_x_.options().dtype(at::kFloat));
  for (std::int64_t first = 0; first < words_; first += tile) {
    const std::int64_t n = std::min(tile, words_ - first);
    const at::Tensor w = tile_weight(first, n);
    const at::Tensor d = at::mm(scored_x_, w.t());  // logits, and then their gradient
    entropy_->turn_into_gradient(d, first, scale);
    dx.add_(at::mm(d, w));
    at::Tensor rows = dw.narrow(0, first, n);
    at::mm_out(rows, d.t(), scored_x_);
  }
  gradients.add(*model_.head().parameter, std::move(dw));
  return dx.to(scored_x_.scalar_type());
}

at::Tensor HeadLoss::backward(double scale, GradientReceiver& gradients) {
  const at::Tensor dx =
      logits_.defined() ? whole_backward(scale, gradients) : tiled_backward(scale, gradients);
  const at::Tensor scored = scored_;
  const std::int64_t tokens = tokens_;
  forget();
  if (scored.size(0) == tokens) return dx;
  const at::Tensor all = at::zeros({tokens, dx.size(1)}, dx.options());
  all.index_copy_(0, scored, dx);
  return all;
}

void HeadLoss::forget() {
  entropy_.reset();
  scored_x_ = scored_ = targets_ = logits_ = at::Tensor();
  tokens_ = 0;
}

}  // namespace tetrad::train
