// What the optimizer plugins share: the checks of arguments, the table of states, the proof that a parameter
// moved, saving and restoring. A plugin derives from it and says how a parameter's state is made.
#pragma once

#include <tetrad/torch/optimizer.h>

#include <memory>
#include <string>
#include <vector>

#include "optim/param_state.h"
#include "optim/pinned_states.h"

namespace tetrad::optim {

[[noreturn]] inline void fail(StatusCode code, const std::string& text) {
  throw StatusError(code, text);
}

class OptimizerBase : public Optimizer {
 public:
  // offload: states lie in pinned host memory between updates (pinned_states.h).
  explicit OptimizerBase(bool offload) : offload_(offload) {}
  Status configure(const OptimizerSetup& setup) noexcept final;
  Status prepare(Parameter& parameter, double weight_decay, StateId& state) noexcept final;
  Status update(std::span<const UpdateItem> items, const StepFactors& factors) noexcept final;
  Status describe(StateId state, StorageTable& table) const noexcept final;
  Status forecast(std::span<const std::int64_t> shape, Role role, Format format,
                  StorageTable& table) const noexcept final;
  Status state(StateId state, std::vector<NamedTensor>& tensors) noexcept final;
  Status restore(StateId state, std::span<const NamedTensor> tensors) noexcept final;
  Status proof(StateId state, UpdateProof& proof) noexcept final;
  OptimizerMemory memory() const noexcept final;

 protected:
  // Converts the parameter's storage and makes its state; the parameter's shape, device and values have been
  // checked (finite, not empty). Changes nothing when it throws.
  virtual std::unique_ptr<ParamState> make_state(Parameter& parameter, double weight_decay) = 0;
  // forecast() without its checks.
  virtual StorageTable forecast_table(std::span<const std::int64_t> shape, Role role,
                                      Format format) const = 0;

  const OptimizerSetup& setup() const noexcept { return setup_; }
  bool offloads() const noexcept { return offload_; }

 private:
  ParamState& at(StateId state) const;
  // With what is known only here: where the state lies.
  StorageTable placed(StorageTable table) const;
  void update_one(const UpdateItem& item, const StepFactors& factors, StepContext context);
  // The state whose update is likely to follow that of items[i]; null: nothing is known.
  ParamState* next_after(std::span<const UpdateItem> items, std::size_t i) const;

  OptimizerSetup setup_;
  bool configured_ = false, offload_ = false;
  std::vector<std::unique_ptr<ParamState>> states_;
  std::unique_ptr<PinnedStates> pinned_;  // with offload_
  std::vector<StateId> follower_;         // whose update came after each one's the last time; -1: none
  StateId last_updated_ = -1;
};

// Bytes of a plane of NVFP4 codes and, once per set of tied planes, of its block scales.
std::int64_t nvfp4_bytes(std::span<const std::int64_t> shape, int planes);
std::int64_t element_count(std::span<const std::int64_t> shape);
// The parameter's values in fp32 on its device, whatever its storage.
at::Tensor decoded_weight(const Parameter& parameter);

}  // namespace tetrad::optim
