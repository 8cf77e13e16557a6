#include "int8_state.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "int8_cpu.h"
#include "int8_kernels.h"
#include "optim/optimizer_base.h"
#include "optim/weight_values.h"

namespace tetrad::optim_adamw_int8 {
namespace {

using Type = optim::DenseArgs::Type;

std::int64_t code_of_zero(const at::Tensor& map) {
  return map.eq(0).nonzero().item<std::int64_t>();
}

}  // namespace

Int8State::Int8State(Parameter& parameter, double weight_decay, const optim::Hyper& hyper,
                     const Int8Choice& choice, const at::Tensor& m_map, const at::Tensor& v_map)
    : ParamState(parameter, weight_decay), hyper_(hyper), choice_(choice), m_map_(m_map), v_map_(v_map) {
  const auto options = parameter.dense.options();
  const std::int64_t blocks = (parameter.numel() + kBlock - 1) / kBlock;
  m_ = at::full(parameter.dense.sizes(), code_of_zero(m_map), options.dtype(at::kByte));
  v_ = at::full(parameter.dense.sizes(), code_of_zero(v_map), options.dtype(at::kByte));
  m_scales_ = at::zeros({blocks}, options.dtype(at::kFloat));
  v_scales_ = at::zeros({blocks}, options.dtype(at::kFloat));
}

void Int8State::update(const Gradient& gradient, const optim::StepContext& context, std::int32_t mark) {
  const at::Tensor& w = parameter().dense;
  const optim::Extent extent = optim::extent_of(parameter().shape);
  Int8Args args;
  optim::DenseArgs& d = args.dense;
  d.w = w.mutable_data_ptr();
  d.w_type = w.scalar_type() == at::kFloat ? Type::fp32 : Type::bf16;
  d.g = gradient.dense.const_data_ptr();
  d.g_type = gradient.dense.scalar_type() == at::kFloat ? Type::fp32 : Type::bf16;
  d.rounding = choice_.rounding;
  d.rows = extent.rows;
  d.cols = extent.cols;
  d.scale = context.scale;
  d.stop = context.stop;
  d.mark = mark;
  d.f = optim::adam_factors(hyper_, context.lr, weight_decay(), context.step);
  d.draws = draws(context);
  args.m = m_.mutable_data_ptr<std::uint8_t>();
  args.v = v_.mutable_data_ptr<std::uint8_t>();
  args.m_scales = m_scales_.mutable_data_ptr<float>();
  args.v_scales = v_scales_.mutable_data_ptr<float>();
  args.m_map = m_map_.const_data_ptr<float>();
  args.v_map = v_map_.const_data_ptr<float>();
  if (w.device().is_cpu())
    int8_update_cpu(args);
  else
    cuda_int8_kernel()(args, w.device().index());
}

StorageTable Int8State::table_of(std::span<const std::int64_t> shape, Format format,
                                 const Int8Choice& choice) {
  const std::int64_t n = optim::element_count(shape), state = n + (n + kBlock - 1) / kBlock * 4;
  StorageTable table;
  table.w = {format_name(format), n * (format == Format::fp32 ? 4 : 2)};
  table.m = {"int8", state};
  table.v = {"int8", state};
  table.gradient = choice.gradient;
  table.grad = {gradient_format_name(choice.gradient), n * (choice.gradient == GradientFormat::fp32 ? 4 : 2)};
  return table;
}

StorageTable Int8State::table() const {
  return table_of(parameter().shape, parameter().format, choice_);
}

std::vector<NamedTensor> Int8State::tensors() {
  return {{"m.codes", m_}, {"m.scales", m_scales_}, {"v.codes", v_}, {"v.scales", v_scales_}};
}

std::int64_t Int8State::moved_elements() const {
  // Some blocks at a time: the copies in fp32 stay small beside the model.
  constexpr std::int64_t kPiece = std::int64_t{1} << 22;
  static_assert(kPiece % kBlock == 0);
  const at::Tensor codes = m_.flatten();
  std::int64_t count = 0;
  for (std::int64_t first = 0; first < codes.numel(); first += kPiece) {
    const std::int64_t n = std::min(kPiece, codes.numel() - first);
    const at::Tensor values = m_map_.index_select(0, codes.narrow(0, first, n).to(at::kInt));
    const at::Tensor scales = m_scales_.narrow(0, first / kBlock, (n + kBlock - 1) / kBlock);
    count +=
        values.mul(scales.repeat_interleave(kBlock).narrow(0, 0, n)).count_nonzero().item<std::int64_t>();
  }
  return count;
}

at::Tensor Int8State::decoded_v(std::int64_t first, std::int64_t n) const {
  const std::int64_t cols = optim::extent_of(parameter().shape).cols, begin = first * cols, count = n * cols;
  const at::Tensor block =
      at::arange(begin, begin + count, m_.options().dtype(at::kLong)).div_(kBlock, "floor");
  return v_map_.index_select(0, v_.flatten().narrow(0, begin, count).to(at::kInt))
      .mul_(v_scales_.index_select(0, block))
      .view({n, cols});
}

}  // namespace tetrad::optim_adamw_int8
