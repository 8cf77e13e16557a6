// LinearBackend: plugin kind "linear". It prepares Parameters for a path and computes forward, dX and dW, all
// without autograd (the host owns the graph and hands dW to its gradient sink). It holds no second copy of a
// weight unless its options ask for one (the eval cache).
//
// Threads: calls come from one host thread at a time; a backend may use libtorch's pool inside.
// Streams: on a CUDA device work goes to the current stream of the tensors' device; no device-wide
// synchronisation. Lifecycle: configure once -> prepare for every parameter -> any order of the rest ->
// destroyed by the host. Errors: every call returns a Status (status.h); on failure outputs are untouched or
// undefined tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <tetrad/base/status.h>
#include <tetrad/torch/capability.h>
#include <tetrad/torch/parameter.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tetrad {

enum class Path : std::uint8_t {
  training,  // weights are trainable parameters; a dense one is quantised in the forward (straight-through
             // gradient)
  bridge,    // inference on packed weights, no gradient
};

enum class Pass : std::uint8_t {
  eval,   // no gradient flows: the eval cache may be filled and used
  train,  // forward of a training step: the weight is quantised anew, the cache is neither read nor written
};

struct LinearSetup {
  Path path = Path::training;
  at::ScalarType dtype = at::kBFloat16;  // of activations, gradients and results
  at::Device device = at::kCPU;
  bool deterministic = false;
  // Whether an optimizer may write weights in this run. If not, a backend may keep a weight in its packed
  // form alone on the training path too; no result changes by it.
  bool trainable = true;
};

// Index of a prepared weight in its backend.
using WeightId = std::int32_t;

struct LinearMemory {
  std::int64_t weight_bytes =
      0;  // owned by the backend (packed copies); storage of Parameters is not counted
  std::int64_t eval_cache_bytes = 0;
  std::int64_t workspace_bytes = 0;
};

class LinearBackend {
 public:
  virtual ~LinearBackend() = default;

  // What would run for [rows, K] x [N, K]^T under `setup`. May be asked before configure().
  virtual Capability capability(const LinearSetup& setup) const noexcept = 0;
  virtual Status configure(const LinearSetup& setup) noexcept = 0;

  // Registers a matrix [N, K] that lives as long as the backend. On the bridge path the backend may replace
  // the parameter's dense storage by planes (and sets `format`), and so on the training path where the setup
  // is not trainable; otherwise it leaves the parameter alone.
  virtual Status prepare(Parameter& parameter, WeightId& weight) noexcept = 0;

  // y[i] = x * W[i]^T for weights that share their input: x [T, K] -> y[i] [T, N_i], dtype and device of the
  // setup.
  virtual Status forward(std::span<const WeightId> weights, const at::Tensor& x, Pass pass,
                         std::vector<at::Tensor>& y) noexcept = 0;
  // Rows of the weight as the model sees it (embedding lookup): ids int64 [T] -> out [T, K].
  virtual Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept = 0;
  // dX = dY * W with the same W that forward used: dy [T, N] -> dx [T, K].
  virtual Status grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept = 0;
  // dW = dY^T * X, the straight-through gradient of the parameter: dy [T, N], x [T, K] -> dw [N, K].
  virtual Status grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                             at::Tensor& dw) noexcept = 0;
  // The weight as every product sees it, [N, K], dtype of the setup.
  virtual Status dequantized(WeightId weight, at::Tensor& w) noexcept = 0;

  // Drops dequantised weights kept for eval passes; returns the bytes that were freed.
  virtual std::int64_t clear_eval_cache() noexcept = 0;
  virtual LinearMemory memory() const noexcept = 0;
  // Changes whenever an address that a captured graph may hold has changed.
  virtual std::uint64_t weight_epoch() const noexcept = 0;
};

}  // namespace tetrad
