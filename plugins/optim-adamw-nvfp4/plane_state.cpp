#include "plane_state.h"

#include <ATen/ops/abs.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/count_nonzero.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <tetrad/nvfp4/codec.h>

#include <algorithm>

#include "optim/optimizer_base.h"
#include "optim/weight_values.h"
#include "plane_cpu.h"
#include "plane_kernels.h"

namespace tetrad::optim_adamw_nvfp4 {
namespace {

static_assert(sizeof(Range) == 16);

std::uint8_t* bytes_of(const at::Tensor& t) {
  return t.defined() ? t.mutable_data_ptr<std::uint8_t>() : nullptr;
}

std::uint32_t amax_cpu(const at::Tensor& g, optim::Extent extent) {
  const nvfp4::Amax amax = g.scalar_type() == at::kFloat
                               ? nvfp4::amax(g.const_data_ptr<float>(), extent.rows, extent.cols, extent.cols)
                               : nvfp4::amax(static_cast<const nvfp4::Bf16*>(g.const_data_ptr()), extent.rows,
                                             extent.cols, extent.cols);
  return nvfp4::abs_bits(amax.value);
}

}  // namespace

PlaneState::PlaneState(Parameter& parameter, double weight_decay, const optim::Hyper& hyper, int planes)
    : ParamState(parameter, weight_decay), hyper_(hyper), planes_(planes) {
  const Planes& w = parameter.planes;
  m_codes_ = at::zeros(w.codes.sizes(), w.codes.options());
  m_scales_ = at::zeros(w.scales.sizes(), w.scales.options());
  r_codes_ = at::zeros(w.codes.sizes(), w.codes.options());
  r_scales_ = at::zeros(w.scales.sizes(), w.scales.options());
  ranges_ = at::zeros({3, 4}, w.codes.options().dtype(at::kInt));
  // m = r = 0 under the scale 1.
  ranges_.narrow(1, 0, 2).fill_(static_cast<std::int64_t>(nvfp4::float_bits(1.0F)));
}

Range* PlaneState::range(int slot) const {
  return reinterpret_cast<Range*>(ranges_.mutable_data_ptr<std::int32_t>()) + slot % 3;
}

void PlaneState::update(const Gradient& gradient, const optim::StepContext& context, std::int32_t mark) {
  const Planes& w = parameter().planes;
  const optim::Extent extent = optim::extent_of(parameter().shape);
  const bool cpu = w.codes.device().is_cpu();
  PlaneArgs a;
  a.rows = extent.rows;
  a.cols = extent.cols;
  a.w[0] = bytes_of(w.codes);
  a.w[1] = bytes_of(w.lo_codes);
  a.w[2] = bytes_of(w.lo2_codes);
  a.w_scales = bytes_of(w.scales);
  a.w_scale = w.decode_scale;
  a.m = bytes_of(m_codes_);
  a.m_scales = bytes_of(m_scales_);
  a.r = bytes_of(r_codes_);
  a.r_scales = bytes_of(r_scales_);
  std::uint32_t amax = 0;
  if (gradient.dense.defined()) {
    a.kind = gradient.dense.scalar_type() == at::kFloat ? GradientKind::fp32 : GradientKind::bf16;
    a.g = gradient.dense.const_data_ptr();
    if (cpu) {
      amax = amax_cpu(gradient.dense, extent);
      a.g_amax = &amax;
    } else {
      if (!amax_.defined()) amax_ = at::empty({1}, ranges_.options());
      plane_kernels()->amax(gradient.dense, amax_);
      a.g_amax = reinterpret_cast<const std::uint32_t*>(amax_.const_data_ptr<std::int32_t>());
    }
  } else {
    a.kind = GradientKind::planes;
    a.g = gradient.planes.codes.const_data_ptr();
    a.g_scales = gradient.planes.scales.const_data_ptr<std::uint8_t>();
    a.g_scale = gradient.planes.decode_scale;
    if (gradient.decode_scale.defined()) a.g_scale_at = gradient.decode_scale.const_data_ptr<float>();
  }
  a.scale = context.scale;
  a.stop = context.stop;
  a.mark = mark;
  a.range = range(slot_);
  a.next_range = range(slot_ + 1);
  a.clear_range = range(slot_ + 2);
  a.f = optim::adam_factors(hyper_, context.lr, weight_decay(), context.step);
  a.draws = draws(context);
  if (cpu)
    plane_update_cpu(a, planes_);
  else
    plane_kernels()->update(a, planes_, w.codes.device().index());
  slot_ = (slot_ + 1) % 3;
}

StorageTable PlaneState::table_of(std::span<const std::int64_t> shape, int planes) {
  static constexpr const char* kNames[] = {"nvfp4", "nvfp4 hi+lo", "nvfp4 hi+lo+lo2"};
  const std::int64_t one = optim::nvfp4_bytes(shape, 1);
  StorageTable table;
  table.w = {kNames[planes - 1], optim::nvfp4_bytes(shape, planes)};
  table.grad = {"nvfp4", one};
  table.m = {"nvfp4", one};
  table.v = {"nvfp4", one};
  table.gradient = GradientFormat::nvfp4;
  return table;
}

StorageTable PlaneState::table() const {
  return table_of(parameter().shape, planes_);
}

std::vector<NamedTensor> PlaneState::tensors() {
  return {{"m.codes", m_codes_},
          {"m.scales", m_scales_},
          {"v.codes", r_codes_},
          {"v.scales", r_scales_},
          {"range", ranges_.select(0, slot_)}};
}

std::int64_t PlaneState::moved_elements() const {
  // Some rows at a time: the copies in fp32 stay small beside the model.
  const std::int64_t rows = m_codes_.size(0);
  const std::int64_t step =
      std::max<std::int64_t>(1, (std::int64_t{1} << 22) / std::max<std::int64_t>(2 * m_codes_.size(1), 1));
  std::int64_t count = 0;
  for (std::int64_t first = 0; first < rows; first += step) {
    const std::int64_t n = std::min(step, rows - first);
    count += optim::decode_plane(m_codes_.narrow(0, first, n), m_scales_.narrow(0, first, n))
                 .count_nonzero()
                 .item<std::int64_t>();
  }
  return count;
}

at::Tensor PlaneState::decoded_v(std::int64_t first, std::int64_t n) const {
  static_assert(offsetof(Range, r_scale) == 4);
  const at::Tensor global = ranges_.select(0, slot_).narrow(0, 1, 1).view(at::kFloat);
  const at::Tensor root = optim::decode_plane(r_codes_.narrow(0, first, n), r_scales_.narrow(0, first, n))
                              .narrow(1, 0, optim::extent_of(parameter().shape).cols)
                              .mul(global);
  return root.mul(root);
}

std::int64_t PlaneState::extra_bytes() const {
  return static_cast<std::int64_t>(ranges_.nbytes()) +
         (amax_.defined() ? static_cast<std::int64_t>(amax_.nbytes()) : 0);
}

}  // namespace tetrad::optim_adamw_nvfp4
