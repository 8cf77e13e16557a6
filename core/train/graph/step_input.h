// A batch as the training graph takes it: the tokens of all rows one after another, without padding, on the
// device, with the documents that bound attention and the positions that are scored.
#pragma once

#include "ops/packed_attention.h"
#include "train/data/batch.h"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace tetrad::train {

struct StepInput {
  at::Tensor ids;        // int64 [T]
  at::Tensor positions;  // int64 [T], counted from each document's start
  at::Tensor scored;     // int64 [M], ascending: the tokens whose successor is scored
  at::Tensor targets;    // int64 [M]: those successors
  ops::PackedDocuments documents;
  std::int64_t longest_position = 0;  // positions + 1 at most

  std::int64_t tokens() const noexcept { return documents.tokens; }

  // Throws Error for ids or targets outside [0, vocabulary), for padding before a row's end, and for a batch
  // in which nothing is scored.
  static StepInput make(const Batch& batch, std::int64_t vocabulary, at::Device device);
};

}  // namespace tetrad::train
