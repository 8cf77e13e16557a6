// What an optimizer plugin keeps for one parameter: the base class of the states, and the numbers of a step
// as they are handed to them.
#pragma once

#include <tetrad/nvfp4/philox.h>
#include <tetrad/torch/optimizer.h>

#include <vector>

#include "optim/adam_math.h"

namespace tetrad::optim {

struct StepContext {
  std::int64_t step = 1;
  double lr = 0.0;
  const float* scale = nullptr;  // of the parameter's device; null: 1
  std::int32_t* stop = nullptr;  // of the parameter's device; null: 0
  std::uint64_t seed = 0;
};

class ParamState {
 public:
  ParamState(Parameter& parameter, double weight_decay)
      : parameter_(parameter), weight_decay_(weight_decay), key_(nvfp4::tensor_key(parameter.name)) {}
  virtual ~ParamState() = default;
  ParamState(const ParamState&) = delete;
  ParamState& operator=(const ParamState&) = delete;

  // The gradient has been checked against the parameter. `mark` is what a non-finite gradient writes to
  // context.stop.
  virtual void update(const Gradient& gradient, const StepContext& context, std::int32_t mark) = 0;
  virtual StorageTable table() const = 0;
  virtual std::vector<NamedTensor> tensors() = 0;
  // Elements of m that are not 0, for the proof that it moves.
  virtual std::int64_t moved_elements() const = 0;
  // Rows [first, first + n) of v as floats [n, cols], for the root mean square of an update.
  virtual at::Tensor decoded_v(std::int64_t first, std::int64_t n) const = 0;
  virtual Hyper hyper() const = 0;
  // What may lie in host memory between two updates: all of table()'s m, v and master. Pointers to the
  // members, which are pointed at the copy in use.
  virtual std::vector<at::Tensor*> movable() = 0;
  // Bytes that are not in table().
  virtual std::int64_t extra_bytes() const { return 0; }

  Parameter& parameter() const noexcept { return parameter_; }
  double weight_decay() const noexcept { return weight_decay_; }
  std::uint32_t key() const noexcept { return key_; }

  nvfp4::DrawStream draws(const StepContext& context) const noexcept {
    return {context.seed, key_, static_cast<std::uint32_t>(context.step)};
  }

  UpdateProof proof;

 private:
  Parameter& parameter_;
  double weight_decay_;
  std::uint32_t key_;
};

}  // namespace tetrad::optim
