#include "optim/dense_state.h"

#include <ATen/ops/count_nonzero.h>
#include <ATen/ops/zeros.h>

#include "optim/dense_cpu.h"
#include "optim/dense_kernels.h"
#include "optim/optimizer_base.h"
#include "optim/weight_values.h"

namespace tetrad::optim {
namespace {

DenseArgs::Type type_of(at::ScalarType type) {
  if (type == at::kFloat) return DenseArgs::Type::fp32;
  return type == at::kBFloat16 ? DenseArgs::Type::bf16 : DenseArgs::Type::fp16;
}

bool keeps_master(Format format, const DenseChoice& choice) {
  return choice.master && format != Format::fp32;
}

}  // namespace

DenseState::DenseState(Parameter& parameter, double weight_decay, const Hyper& hyper,
                       const DenseChoice& choice)
    : ParamState(parameter, weight_decay), hyper_(hyper), choice_(choice) {
  const auto options = parameter.dense.options().dtype(at::kFloat);
  m_ = at::zeros(parameter.dense.sizes(), options);
  v_ = at::zeros(parameter.dense.sizes(), options);
  if (keeps_master(parameter.format, choice)) master_ = parameter.dense.to(at::kFloat);
}

void DenseState::update(const Gradient& gradient, const StepContext& context, std::int32_t mark) {
  const at::Tensor& w = parameter().dense;
  const Extent extent = extent_of(parameter().shape);
  DenseArgs args;
  args.w = w.mutable_data_ptr();
  args.w_type = type_of(w.scalar_type());
  args.master = master_.defined() ? master_.mutable_data_ptr<float>() : nullptr;
  args.m = m_.mutable_data_ptr<float>();
  args.v = v_.mutable_data_ptr<float>();
  args.g = gradient.dense.const_data_ptr();
  args.g_type = type_of(gradient.dense.scalar_type());
  args.rounding = choice_.rounding;
  args.rows = extent.rows;
  args.cols = extent.cols;
  args.scale = context.scale;
  args.stop = context.stop;
  args.mark = mark;
  args.f = adam_factors(hyper_, context.lr, weight_decay(), context.step);
  args.draws = draws(context);
  if (w.device().is_cpu())
    dense_update_cpu(args);
  else
    cuda_dense_kernel()(args, w.device().index());
}

StorageTable DenseState::table_of(std::span<const std::int64_t> shape, Format format,
                                  const DenseChoice& choice) {
  const std::int64_t n = element_count(shape), wide = format == Format::fp32 ? 4 : 2;
  StorageTable table;
  table.w = {format_name(format), n * wide};
  table.m = {"fp32", n * 4};
  table.v = {"fp32", n * 4};
  if (keeps_master(format, choice)) table.master = {"fp32", n * 4};
  table.gradient = choice.gradient;
  table.grad = {gradient_format_name(choice.gradient), n * (choice.gradient == GradientFormat::fp32 ? 4 : 2)};
  return table;
}

StorageTable DenseState::table() const {
  return table_of(parameter().shape, parameter().format, choice_);
}

at::Tensor DenseState::decoded_v(std::int64_t first, std::int64_t n) const {
  const Extent extent = extent_of(parameter().shape);
  return v_.view({extent.rows, extent.cols}).narrow(0, first, n);
}

std::vector<at::Tensor*> DenseState::movable() {
  std::vector<at::Tensor*> all = {&m_, &v_};
  if (master_.defined()) all.push_back(&master_);
  return all;
}

std::vector<NamedTensor> DenseState::tensors() {
  std::vector<NamedTensor> all = {{"m", m_}, {"v", v_}};
  if (master_.defined()) all.push_back({"master", master_});
  return all;
}

std::int64_t DenseState::moved_elements() const {
  return m_.count_nonzero().item<std::int64_t>();
}

}  // namespace tetrad::optim
