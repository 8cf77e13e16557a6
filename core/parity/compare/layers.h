// The hidden states of two arms, tensor by tensor in the order of computing, and the first one that rounding
// does not explain. What tells a bug from rounding is not the size of an error but a jump: rounding grows
// slowly from layer to layer, a bug appears at one tensor.
//
// Error of a tensor [P, W] against the reference's: every difference is taken relative to
// sqrt(value^2 + m^2), m = mean |value| of its position, so that neither the few huge channels of a language
// model nor its huge first token hide the rest. From those, root mean squares:
//   error     over everything          channel  of the worst channel, over positions
//   position  of the worst position, over channels
// Tolerance of a tensor:
//   given       tolerance.layer, for `error` alone
//   self-noise  factor * the largest that the reference's own arms show at this very tensor, twice that for
//               channel and position, and not below what the contract says of a tensor that inherits nothing
//   contract    4 * rounding + 2 * (the largest error since the previous layer's last tensor): what it may
//               bring itself, and what it inherits. Being the worst of many, a position may have 4 times as
//               much, a channel 5 times, one of silu_mul, a product of two tensors, 12 times.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::parity {

struct TensorErrors {
  double error = 0, channel = 0, position = 0;
  std::int64_t worst_channel = -1;
  std::int64_t worst_position = -1;  // index in the script
  bool finite = true;
};

struct TensorComparison {
  std::string name;    // as stored, "007/03.attention"
  int layer = 0;       // -1 before the first block
  std::string tensor;  // "attention"
  TensorErrors errors;
};

// In the order of computing. Throws Error(usage) naming a file that is broken or whose tensors have another
// shape than the reference's; tensors that only one side has are in `missing`.
struct LayerComparison {
  std::vector<TensorComparison> tensors;
  std::vector<std::string> missing;
};
LayerComparison compare_layers(const std::filesystem::path& reference, const std::filesystem::path& own);

enum class ToleranceSource { given, self_noise, contract };
const char* source_name(ToleranceSource source);  // tolerance | self-noise | contract

struct LayerVerdict {
  std::vector<double> tolerance;  // of `error`, one for each tensor
  ToleranceSource source = ToleranceSource::contract;
  std::ptrdiff_t first_beyond = -1;  // index of the first tensor that leaves its tolerance
  std::string what;                  // error | channel | position | not_finite: which of them left it
  double measured = 0, allowed = 0;
};

// `noise`: comparisons of the reference's own arms with it.
LayerVerdict judge_layers(const LayerComparison& layers, double rounding, std::optional<double> given,
                          double noise_factor, const std::vector<const LayerComparison*>& noise);

}  // namespace tetrad::parity
