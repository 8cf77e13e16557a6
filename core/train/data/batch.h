// What one forward and backward pass of training reads: rows of token ids with everything that attention and
// loss need to know about them. Plain host memory, row-major [rows, width], int64 as libtorch indexes with.
// A row may hold several documents (packing): a token attends only to earlier tokens of its own document, and
// its position counts from the document's start, so a packed document computes what it would alone.
#pragma once

#include <cstdint>
#include <vector>

namespace tetrad::train {

struct Batch {
  static constexpr std::int64_t not_scored = -100;  // in targets
  static constexpr std::int64_t padding = -1;       // in documents; such a token's id and position are 0

  std::int64_t rows = 0;
  std::int64_t width = 0;

  std::vector<std::int64_t> ids;        // [rows, width]
  std::vector<std::int64_t> targets;    // [rows, width]: the token that follows, or not_scored
  std::vector<std::int64_t> positions;  // [rows, width]: 0, 1, ... in each document
  std::vector<std::int64_t> documents;  // [rows, width]: 0, 1, ... in each row, in order; padding at its end

  std::int64_t examples = 0;  // documents in all rows
  std::int64_t tokens = 0;    // without padding
  std::int64_t scored = 0;    // targets that are not not_scored

  bool operator==(const Batch&) const = default;
};

}  // namespace tetrad::train
