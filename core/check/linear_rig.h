// A linear backend on the bench: loaded from its file, configured, with weights of known values. Every call
// leaves a breadcrumb, so that a crash names the function it happened in.
#pragma once

#include "check/case.h"
#include "check/target.h"
#include "plugin/loader.h"

#include <tetrad/torch/linear.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace tetrad::check {

// Throws Failure "<what>: <code>: <message>" unless the status is ok.
void require_ok(const Status& status, const std::string& what);
// Throws Failure unless the status failed and says why.
void require_refused(const Status& status, const std::string& what);

const char* path_name(Path path) noexcept;

struct LinearRig {
  // Loads the plugin and makes the object; does not configure.
  LinearRig(const Target& target, Path path, at::ScalarType dtype);

  // Configures, or throws Skip with the reason when the backend says that it does not support the setup.
  void configure();

  // Registers `dense` (on the CPU, of the setup's dtype) under a name. Throws Failure when it is refused.
  WeightId add(const at::Tensor& dense, const std::string& name = {});
  // False where the backend says Status::unsupported: it may not take every shape.
  bool try_add(const at::Tensor& dense, WeightId& weight, const std::string& name = {});
  Parameter& parameter(WeightId weight);

  // Results of calls that must succeed.
  std::vector<at::Tensor> forward(const std::vector<WeightId>& weights, const at::Tensor& x, Pass pass);
  at::Tensor forward(WeightId weight, const at::Tensor& x, Pass pass);
  at::Tensor gather(WeightId weight, const at::Tensor& ids);
  at::Tensor grad_input(WeightId weight, const at::Tensor& dy);
  at::Tensor grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x);
  at::Tensor dequantized(WeightId weight);
  // dequantized() in fp64 on the CPU.
  at::Tensor exact(WeightId weight);

  // What products read of x [T, K], in fp64: x, or x rounded as the contract says.
  at::Tensor read(const at::Tensor& x) const;

  // Random input of the setup's dtype on its device; gradients and activations alike. Where products round
  // what they read, it is rounded already, so that rounding changes nothing more.
  at::Tensor input(std::int64_t rows, std::int64_t columns) const;
  at::Tensor to_device(const at::Tensor& t) const { return t.to(setup.device); }
  std::vector<Pass> passes() const;

  const Target& target;
  LinearSetup setup;
  plugin::Plugin& plugin;
  plugin::Handle<LinearBackend> handle;
  std::unique_ptr<LinearBackend> marked;  // with a breadcrumb around each call
  LinearBackend& backend;
  double bound;  // of products, for the dtype

 private:
  std::deque<Parameter> parameters_;
  std::vector<std::pair<WeightId, Parameter*>> by_id_;
};

// A parameter whose dense values are `dense`.
Parameter dense_parameter(const at::Tensor& dense, const std::string& name);

// Rows of different size, one of them zero, with an outlier: [n, k] of `dtype`, on the CPU.
at::Tensor awkward_weight(std::int64_t n, std::int64_t k, at::ScalarType dtype);

at::Tensor to_fp64(const at::Tensor& t);

}  // namespace tetrad::check
