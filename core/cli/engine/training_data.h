// The data of a training run as its config names it: loaded, mixed, reported on stderr, and the loader of the
// evaluation beside it.
#pragma once

#include "train/data/loader.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace tetrad::text {
class Tokenizer;
class TurnFormat;
}  // namespace tetrad::text

namespace tetrad::cli {

class TrainingData {
 public:
  // `train`: the resolved config section. `longest`: of the model. Throws Error(usage).
  TrainingData(const nlohmann::json& train, std::int64_t longest, const text::TurnFormat& turns,
               const text::Tokenizer& tokenizer);

  // The batches of one step. Throws Error when there is nothing to draw from.
  std::vector<train::Batch> step_batches(std::int64_t count);
  train::BatchLoader& loader() noexcept { return *loader_; }
  // Nothing without train.eval_data.
  std::optional<train::BatchLoader>& evaluation() noexcept { return evaluation_; }
  nlohmann::json report() const;

 private:
  std::vector<train::LoadReport> reports_;
  std::optional<train::BatchLoader> loader_, evaluation_;
};

}  // namespace tetrad::cli
