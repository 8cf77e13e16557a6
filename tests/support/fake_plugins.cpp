#include "support/fake_plugins.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include <tetrad/torch/guarded.h>

namespace tetrad::test {

Status FakeLinear::prepare(Parameter& parameter, WeightId& weight) noexcept {
  if (parameter.name == refuse) return {StatusCode::numerics, "this weight is refused"};
  weight = static_cast<WeightId>(prepared.size());
  prepared.push_back(&parameter);
  return {};
}

Status FakeLinear::forward(std::span<const WeightId> weights, const at::Tensor& x, Pass,
                           std::vector<at::Tensor>& y) noexcept {
  return torch_guarded([&] {
    std::vector<std::string>& names = forwards.emplace_back();
    std::vector<at::Tensor> results;
    for (const WeightId weight : weights) {
      const Parameter& parameter = *prepared.at(static_cast<std::size_t>(weight));
      names.push_back(parameter.name);
      if (parameter.name == fail_on) throw StatusError(StatusCode::internal, "the product fell over");
      results.push_back(at::linear(x, parameter.dense));
      if (parameter.name == "lm_head.weight" && !script.empty()) {
        results.back().zero_();
        results.back().select(1, script.at(next++)).fill_(5.0);
      }
    }
    y = std::move(results);
  });
}

Status FakeLinear::gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept {
  return torch_guarded([&] {
    const Parameter& parameter = *prepared.at(static_cast<std::size_t>(weight));
    if (parameter.name == fail_on) throw StatusError(StatusCode::internal, "the lookup fell over");
    out = at::index_select(parameter.dense, 0, ids);
  });
}

Status FakeLinear::grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept {
  return torch_guarded([&] { dx = at::mm(dy, prepared.at(static_cast<std::size_t>(weight))->dense); });
}

Status FakeLinear::grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                               at::Tensor& dw) noexcept {
  return torch_guarded([&] {
    if (on_grad_weight) on_grad_weight();
    dw = at::mm(dy.t(), x);
    if (prepared.at(static_cast<std::size_t>(weight))->name == poison)
      dw.view({-1})[0].fill_(std::numeric_limits<double>::infinity());
  });
}

Status FakeLinear::dequantized(WeightId weight, at::Tensor& w) noexcept {
  w = prepared.at(static_cast<std::size_t>(weight))->dense;
  return {};
}

Status FakeKv::configure(const KvShape& shape) noexcept {
  shape_ = shape;
  return reset();
}

Status FakeKv::prepare(std::int64_t n, KvReserve& answer) noexcept {
  prepares.push_back(n);
  if (length_ + n > full_at) {
    answer = answer_when_full;
    return {};
  }
  answer = KvReserve::ok;
  prepared_ = n;
  new_k_.assign(k_.size(), {});
  new_v_.assign(k_.size(), {});
  return {};
}

Status FakeKv::write(std::int64_t layer, const at::Tensor& k, const at::Tensor& v) noexcept {
  if (prepared_ == 0 || k.size(0) != prepared_) return {StatusCode::internal, "write without prepare"};
  if (length_ + prepared_ > fail_write_at && layer == shape_.layers - 1)
    return {StatusCode::out_of_memory, "no room for these keys"};
  new_k_[static_cast<std::size_t>(layer)] = k.clone();
  new_v_[static_cast<std::size_t>(layer)] = v.clone();
  return {};
}

Status FakeKv::view(std::int64_t layer, at::Tensor& k, at::Tensor& v) noexcept {
  return torch_guarded([&] {
    const auto i = static_cast<std::size_t>(layer);
    k = at::cat({k_[i], new_k_[i]}).transpose(0, 1);
    v = at::cat({v_[i], new_v_[i]}).transpose(0, 1);
  });
}

Status FakeKv::attend(std::int64_t, const at::Tensor&, double, at::Tensor&) noexcept {
  return no();
}

Status FakeKv::commit(std::int64_t n) noexcept {
  ++commits;
  return torch_guarded([&] {
    if (n > prepared_) throw StatusError(StatusCode::internal, "commit of more than was prepared");
    prepared_ = 0;
    if (forget_commit || (bits_ & kv_retains) == 0) return;
    for (std::size_t i = 0; i < k_.size(); ++i) {
      k_[i] = at::cat({k_[i], new_k_[i].narrow(0, 0, n)});
      v_[i] = at::cat({v_[i], new_v_[i].narrow(0, 0, n)});
    }
    length_ += n;
  });
}

Status FakeKv::abort() noexcept {
  prepared_ = 0;
  return {};
}

KvLengths FakeKv::lengths() const noexcept {
  return {length_ + lie_next, length_ + lie_resident};
}

Status FakeKv::truncate(std::int64_t length) noexcept {
  ++truncates;
  if ((bits_ & kv_truncate) == 0) return no();
  if (broken_truncate) return {StatusCode::internal, "cannot truncate"};
  for (std::size_t i = 0; i < k_.size(); ++i) {
    k_[i] = k_[i].narrow(0, 0, length);
    v_[i] = v_[i].narrow(0, 0, length);
  }
  length_ = length;
  return {};
}

Status FakeKv::reset() noexcept {
  ++resets;
  length_ = prepared_ = 0;
  const at::Tensor none =
      at::empty({0, shape_.kv_heads, shape_.head_dim}, at::TensorOptions().dtype(shape_.dtype));
  k_.assign(static_cast<std::size_t>(shape_.layers), none);
  v_ = k_;
  return {};
}

}  // namespace tetrad::test
