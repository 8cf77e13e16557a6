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
  // Numbers of rows that products should have are multiples of this: see filled_to().
  std::int64_t granule = 1;

  std::int64_t tokens() const noexcept { return documents.tokens; }

  // Throws Error for ids or targets outside [0, vocabulary), for padding before a row's end, and for a batch
  // in which nothing is scored.
  static StepInput make(const Batch& batch, std::int64_t vocabulary, at::Device device);
};

// On a CPU oneDNN compiles a kernel for each number of rows that a product has and never lets go of it (about
// a quarter of a MiB; ONEDNN_PRIMITIVE_CACHE_CAPACITY does not reach it), and packed batches have ever new
// ones. So the tokens of a batch are followed by a document of nothing that is scored, up to a multiple of
// this: at most 32 numbers then occur, for 1.6 % more tokens in the mean. Its gradients are zeros. 1, for as
// it is, on other devices and for batches of fewer than 256 places.
std::int64_t filled_to(std::int64_t places, at::Device device) noexcept;

}  // namespace tetrad::train
