// One arm against the reference arm: the figures (report's "against_reference") and the checks made on them.
// Two passes, because the tolerance may come from what the reference's own arms measured: measure() every
// arm, then judge() every arm.
#pragma once

#include "parity/compare/checks.h"
#include "parity/compare/contract.h"
#include "parity/compare/layers.h"
#include "parity/compare/logits.h"
#include "parity/compare/perplexity.h"
#include "parity/compare/pieces.h"
#include "parity/compare/result_folder.h"
#include "parity/compare/training.h"

#include <nlohmann/json.hpp>

#include <optional>

namespace tetrad::parity {

struct Measured {
  Checks checks;  // obstacles to the comparison so far
  Contract contract;
  bool own_arm = false;  // the reference fed another way: what it differs by is the reference's own noise
  std::optional<LogitsComparison> logits;
  double spread = 0;  // of the reference's logits
  std::int64_t vocabulary = 0;
  std::optional<LayerComparison> layers;
  std::optional<PerplexityRatio> perplexity;
  std::optional<Losses> losses;
  std::optional<Updates> updates;
};

// Throws Error(usage) naming a broken file.
Measured measure(const ResultFolder& folder, std::size_t arm);

// What the own arms of `base`, the reference or another arm that some are compared with, differ by at most;
// zeros where there are none or they are equal to the bit.
struct SelfNoise {
  std::size_t arms = 0;
  double kl_max = 0, kl_mean = 0, max_logit = 0, log_perplexity = 0;
  std::vector<const LayerComparison*> layers;
};
SelfNoise self_noise(const ResultFolder& folder, std::size_t base,
                     const std::vector<std::optional<Measured>>& arms);

// Adds the checks to `measured` and returns "against_reference".
nlohmann::json judge(const ResultFolder& folder, std::size_t arm, Measured& measured, const SelfNoise& noise,
                     const Pieces& pieces);

}  // namespace tetrad::parity
