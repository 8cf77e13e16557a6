// Takes weight gradients as the backward pass makes them, and has them ready for the optimizer.
//
// Two-phase (the default): when a parameter's last contribution of the step is in, the gradient is measured
// (sum of squares of what came, before any quantisation) and stored as the optimizer wants it, NVFP4 for a
// matrix of an NVFP4 optimizer. After the backward, totals() gives the exact global norm and names the first
// parameter with a non-finite gradient; nothing was updated until then, so a bad step is dropped whole.
//
// Immediate: the complete gradient goes to a function at once and is never stored.
//
// A gradient that waits for more contributions (a tied embedding, several micro-batches) is kept dense: in
// the type it came in, or in `accumulate`, when micro-batches add up in it; never as repeatedly rounded
// NVFP4.
#pragma once

#include "train/graph/gradient_receiver.h"

#include <ATen/core/Tensor.h>
#include <tetrad/torch/optimizer.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace tetrad::train {

struct SinkOptions {
  at::ScalarType dtype = at::kBFloat16;  // of the run: gradients of matrices come in it
  std::int64_t micro_batches = 1;
  at::ScalarType accumulate = at::kFloat;  // fp32 or bf16; of sums over micro-batches
  // Set: immediate mode.
  std::function<void(const Parameter&, const at::Tensor& gradient)> immediate;
};

struct GradientTotals {
  double norm = 0.0;                      // of all gradients together, before clipping
  std::optional<std::string> non_finite;  // the first parameter, in the model's order, whose gradient is not
};

// What one parameter's gradient was, for the proof that it trains.
struct GradientProof {
  double norm = 0.0;
  double non_zero = 0.0;  // share of elements
};

class GradientSink final : public GradientReceiver {
 public:
  // Parameters without a format are frozen: their gradients are dropped.
  GradientSink(const std::deque<Parameter>& parameters,
               std::unordered_map<const Parameter*, GradientFormat> formats, SinkOptions options);

  // Forgets everything of the last step. `measure`: also count non-zero elements.
  void begin_step(bool measure);

  void add(const Parameter& parameter, at::Tensor dw) override;
  void add_rows(const Parameter& parameter, const at::Tensor& ids, const at::Tensor& rows) override;

  // After the backward of all micro-batches. Waits for the device. Throws Error naming a parameter whose
  // contributions are not all in: it would not train.
  GradientTotals totals();
  // The norm of each parameter's gradient; after totals().
  GradientProof proof(const Parameter& parameter) const;

  // The stored gradient; handed over, not kept. Two-phase only.
  Gradient take(const Parameter& parameter);

  // Bytes held now, and the most since begin_step().
  std::int64_t bytes() const noexcept { return bytes_; }
  std::int64_t peak_bytes() const noexcept { return peak_bytes_; }

 private:
  struct Slot {
    const Parameter* parameter = nullptr;
    std::optional<GradientFormat> format;  // none: frozen
    std::int64_t arrived = 0;
    at::Tensor waiting;
    Gradient stored;
    at::Tensor norm;  // fp32 [] on the device
    at::Tensor non_zero;
    double norm_value = 0.0, non_zero_share = 0.0;
  };

  Slot& slot_of(const Parameter& parameter);
  const Slot& slot_of(const Parameter& parameter) const;
  std::int64_t expected(const Slot& slot) const;
  void arrived(Slot& slot, at::Tensor sum);
  void complete(Slot& slot, const at::Tensor& dw);
  at::ScalarType waiting_dtype() const;
  void account(std::int64_t change);

  SinkOptions options_;
  std::vector<Slot> slots_;  // in the model's order
  std::unordered_map<const Parameter*, std::size_t> places_;
  bool measure_ = false;
  std::int64_t bytes_ = 0, peak_bytes_ = 0;
};

}  // namespace tetrad::train
