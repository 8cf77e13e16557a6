// A linear backend that gives the queries of two heads of one layer to each other.
#include <tetrad/base/plugin.h>
#include <tetrad/torch/guarded.h>

#include <algorithm>
#include <cstddef>

#include "wrapped_linear.h"

namespace {

using tetrad::Options;
using tetrad::Parameter;
using tetrad::Pass;
using tetrad::Status;
using tetrad::StatusCode;
using tetrad::StatusError;
using tetrad::WeightId;

class BrokenHeads final : public tetrad::broken::WrappedLinear {
 public:
  explicit BrokenHeads(const Options& options)
      : WrappedLinear(options),
        name_(tetrad::broken::matrix_name(options.get<std::int64_t>("layer"), "self_attn.q_proj")),
        first_(options.get<std::int64_t>("first")),
        second_(options.get<std::int64_t>("second")),
        head_dim_(options.get<std::int64_t>("head_dim")) {}

  Status prepare(Parameter& parameter, WeightId& weight) noexcept override {
    Status status = WrappedLinear::prepare(parameter, weight);
    if (status.ok() && parameter.name == name_) target_ = weight;
    return status;
  }
  Status forward(std::span<const WeightId> weights, const at::Tensor& x, Pass pass,
                 std::vector<at::Tensor>& y) noexcept override {
    Status status = WrappedLinear::forward(weights, x, pass, y);
    if (!status.ok()) return status;
    return tetrad::torch_guarded([&] {
      for (std::size_t i = 0; i < weights.size(); ++i)
        if (weights[i] == target_) swap(y[i]);
    });
  }

 private:
  void swap(const at::Tensor& q) const {
    if (first_ == second_ || std::max(first_, second_) >= q.size(1) / head_dim_)
      throw StatusError(StatusCode::invalid_option, "'" + name_ + "' has no such two heads");
    const at::Tensor a = q.narrow(1, first_ * head_dim_, head_dim_);
    const at::Tensor b = q.narrow(1, second_ * head_dim_, head_dim_);
    const at::Tensor kept = a.clone();
    a.copy_(b);
    b.copy_(kept);
  }

  std::string name_;
  std::int64_t first_, second_, head_dim_;
  WeightId target_ = -1;
};

}  // namespace

TETRAD_PLUGIN(tetrad::Provides<"linear", tetrad::LinearBackend, BrokenHeads>);
