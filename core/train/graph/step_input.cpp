#include "train/graph/step_input.h"

#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace tetrad::train {
namespace {

void require_word(const char* what, std::int64_t id, std::int64_t vocabulary, std::size_t at) {
  if (id >= 0 && id < vocabulary) return;
  throw Error(fmt::format("[train] {} {} at place {} of the batch is not in the model's vocabulary of {}",
                          what, id, at, vocabulary));
}

at::Tensor on(at::Device device, const std::vector<std::int64_t>& values) {
  return at::tensor(values, at::kLong).to(device);
}

}  // namespace

std::int64_t filled_to(std::int64_t places, at::Device device) noexcept {
  return device.is_cpu() && places >= 256 ? (places + 31) / 32 : 1;
}

StepInput StepInput::make(const Batch& batch, std::int64_t vocabulary, at::Device device) {
  std::vector<std::int64_t> ids, positions, scored, targets;
  std::vector<ops::Segment> segments;
  StepInput input;
  for (std::int64_t row = 0; row < batch.rows; ++row) {
    std::int64_t document = Batch::padding;
    for (std::int64_t column = 0; column < batch.width; ++column) {
      const auto at = static_cast<std::size_t>(row * batch.width + column);
      const bool begins = batch.documents[at] != document || column == 0;
      document = batch.documents[at];
      if (document == Batch::padding) continue;
      if (begins && batch.positions[at] != 0)
        throw Error(fmt::format("[train] a document of the batch begins at position {} (place {})",
                                batch.positions[at], at));
      if (begins) segments.push_back({static_cast<std::int64_t>(ids.size()), 0});
      require_word("token id", batch.ids[at], vocabulary, at);
      ++segments.back().length;
      if (batch.targets[at] != Batch::not_scored) {
        require_word("target", batch.targets[at], vocabulary, at);
        scored.push_back(static_cast<std::int64_t>(ids.size()));
        targets.push_back(batch.targets[at]);
      }
      ids.push_back(batch.ids[at]);
      positions.push_back(batch.positions[at]);
      input.longest_position = std::max(input.longest_position, batch.positions[at] + 1);
    }
  }
  if (scored.empty()) throw Error("[train] nothing in this batch is scored: there is nothing to learn");
  input.granule = filled_to(batch.rows * batch.width, device);
  const auto tokens = static_cast<std::int64_t>(ids.size());
  if (const std::int64_t more = (input.granule - tokens % input.granule) % input.granule; more > 0) {
    segments.push_back({tokens, more});
    for (std::int64_t position = 0; position < more; ++position) positions.push_back(position);
    ids.resize(ids.size() + static_cast<std::size_t>(more), 0);
    input.longest_position = std::max(input.longest_position, more);
  }
  input.ids = on(device, ids);
  input.positions = on(device, positions);
  input.scored = on(device, scored);
  input.targets = on(device, targets);
  input.documents = ops::PackedDocuments::make(std::move(segments), device);
  return input;
}

}  // namespace tetrad::train
