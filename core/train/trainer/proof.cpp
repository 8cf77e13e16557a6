#include "train/trainer/proof.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/sum.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string_view>

namespace tetrad::train {
namespace {

// Bytes that are summed at once: bounds the memory of the wide copies.
constexpr std::int64_t kPiece = std::int64_t{8} << 20;

std::uint64_t mixed(std::uint64_t h, std::uint64_t value) {
  h ^= value + 0x9E3779B97F4A7C15ULL + (h << 6U) + (h >> 2U);
  return h;
}

std::uint64_t of_tensor(std::uint64_t h, const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.numel() == 0) return h;
  const at::Tensor bytes = tensor.contiguous().view({-1}).view(at::kByte);
  const std::int64_t count = bytes.numel();
  // Each byte times its place modulo a prime: swapped bytes show too.
  const at::Tensor places =
      at::arange(std::min(count, kPiece), bytes.options().dtype(at::kInt)).remainder_(65521).add_(1);
  for (std::int64_t at = 0; at < count; at += kPiece) {
    const std::int64_t n = std::min(kPiece, count - at);
    const at::Tensor weighted = bytes.narrow(0, at, n).to(at::kInt).mul_(places.narrow(0, 0, n));
    h = mixed(h, static_cast<std::uint64_t>(at::sum(weighted, at::kLong).item<std::int64_t>()));
  }
  return h;
}

}  // namespace

nlohmann::json proofs_json(const std::vector<ParameterProof>& proofs) {
  nlohmann::json rows = nlohmann::json::array();
  for (const ParameterProof& p : proofs)
    rows.push_back({{"name", p.name},
                    {"step", p.update.step},
                    {"gradient_norm", p.gradient.norm},
                    {"gradient_non_zero", p.gradient.non_zero},
                    {"state_moved", p.update.state_moved},
                    {"codes_changed", p.update.weights_changed},
                    {"relative_change", p.update.relative_change},
                    {"weight_decay_part", p.update.decay_part}});
  return rows;
}

std::uint64_t fingerprint(const Parameter& p) {
  const at::NoGradGuard no_grad;
  std::uint64_t h = 0;
  for (const at::Tensor* t :
       {&p.dense, &p.planes.codes, &p.planes.scales, &p.planes.lo_codes, &p.planes.lo2_codes})
    h = of_tensor(mixed(h, t->defined() ? 1 : 0), *t);
  return h;
}

ChangeWatch::ChangeWatch(const std::deque<Parameter>& parameters, const OptimizerStates& states) {
  for (const Parameter& p : parameters)
    if (states.trains(p)) seen_.push_back({&p, fingerprint(p)});
}

std::vector<std::string> ChangeWatch::unchanged() const {
  std::vector<std::string> names;
  for (const Seen& seen : seen_)
    if (fingerprint(*seen.parameter) == seen.fingerprint) names.push_back(seen.parameter->name);
  return names;
}

}  // namespace tetrad::train
