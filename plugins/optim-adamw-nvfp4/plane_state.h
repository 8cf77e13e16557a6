// A parameter whose w, m and v are NVFP4: w in 1, 2 or 3 tied planes under a frozen global scale, m, and
// r = sqrt(v), each one plane. The conversion of a parameter into that form is here too.
#pragma once

#include "optim/param_state.h"
#include "plane_update.h"

namespace tetrad::optim_adamw_nvfp4 {

// Makes the parameter's storage `planes` tied planes, without a dense copy left behind.
// From dense: profile te's block scales under the power of two >= 2 amax / 2688, so that every scale can
// double once at least; every plane to nearest. From planes: codes and values stay, missing residual planes
// are zeros; where a greatest block scale is above 224 and every scale halves exactly, scales are halved and
// the global scale doubled for the same room. A parameter that has this many planes is left alone, one with
// more is refused (StatusError unsupported). True if anything changed.
bool convert_to_planes(Parameter& parameter, int planes);

class PlaneState final : public optim::ParamState {
 public:
  // The parameter has `planes` planes already.
  PlaneState(Parameter& parameter, double weight_decay, const optim::Hyper& hyper, int planes);

  void update(const Gradient& gradient, const optim::StepContext& context, std::int32_t mark) override;
  StorageTable table() const override;
  std::vector<NamedTensor> tensors() override;
  std::int64_t moved_elements() const override;
  at::Tensor decoded_v(std::int64_t first, std::int64_t n) const override;
  optim::Hyper hyper() const override { return hyper_; }
  std::vector<at::Tensor*> movable() override { return {&m_codes_, &m_scales_, &r_codes_, &r_scales_}; }
  std::int64_t extra_bytes() const override;

  static StorageTable table_of(std::span<const std::int64_t> shape, int planes);

 private:
  Range* range(int slot) const;

  optim::Hyper hyper_;
  int planes_;
  at::Tensor m_codes_, m_scales_, r_codes_, r_scales_;
  // Int [3, 4]: three slots of a Range (before, after, to be cleared), which take turns, so that a step on a
  // device needs one kernel alone.
  at::Tensor ranges_;
  int slot_ = 0;
  at::Tensor amax_;  // Int [1], of a dense gradient; made when one comes
};

}  // namespace tetrad::optim_adamw_nvfp4
