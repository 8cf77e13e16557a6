// An optimizer on the bench: loaded from its file, configured, with parameters of known values. Every call
// leaves a breadcrumb.
#pragma once

#include "check/case.h"
#include "check/target.h"
#include "plugin/breadcrumb.h"
#include "plugin/loader.h"

#include <tetrad/torch/optimizer.h>

#include <deque>
#include <string>
#include <vector>

namespace tetrad::check {

struct OptimizerRig {
  explicit OptimizerRig(const Target& target);

  // Configures, or throws Skip with the reason when the plugin says that it does not support the device.
  void configure(std::uint64_t seed = 1);
  // A dense parameter, prepared; Skip where the plugin does not take the dtype.
  StateId add(const at::Tensor& dense, const std::string& name, double weight_decay = 0.1);
  // One update of one parameter with a dense gradient (fp32, on the CPU).
  Status update(StateId id, const at::Tensor& gradient, std::int64_t step, double lr,
                const at::Tensor& stop = {}, bool measure = false);
  void must_update(StateId id, const at::Tensor& gradient, std::int64_t step, double lr,
                   const at::Tensor& stop = {});

  Parameter& parameter(StateId id) { return parameters_.at(static_cast<std::size_t>(id)); }
  // The parameter's values, fp64 on the CPU.
  at::Tensor values(StateId id);
  // Copies of all bits: of the parameter, and of its state.
  std::vector<at::Tensor> stored(StateId id);
  std::vector<NamedTensor> state(StateId id);

  template <class F>
  auto call(const char* function, F&& f) {
    const plugin::Breadcrumb here(plugin.id().c_str(), function);
    return f(*handle);
  }

  const Target& target;
  OptimizerSetup setup;
  plugin::Plugin& plugin;
  plugin::Handle<Optimizer> handle;

 private:
  std::deque<Parameter> parameters_;
};

}  // namespace tetrad::check
