// The stored logits of an arm, row by row, and their comparison with the reference's. A file holds input_ids
// int64 [T] and logits float32 [T, V]; row i predicts token i + 1. Files are mapped and given back as they
// are read: a comparison of two needs two rows of memory, whatever their size.
#pragma once

#include "io/safetensors.h"
#include "parity/compare/row.h"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace tetrad::parity {

class LogitsFile {
 public:
  // Throws Error(usage) naming the file when it is no such file, cut short, or of other shapes.
  explicit LogitsFile(const std::filesystem::path& file);

  std::int64_t positions() const noexcept { return static_cast<std::int64_t>(ids_.size()); }
  std::int64_t vocabulary() const noexcept { return vocabulary_; }
  const std::vector<std::int64_t>& ids() const noexcept { return ids_; }

  // Copies row i, [vocabulary()].
  void read_row(std::int64_t i, std::span<float> to) const;

 private:
  io::SafetensorsFile file_;
  const io::TensorView* logits_;
  std::vector<std::int64_t> ids_;
  std::int64_t vocabulary_ = 0;
};

struct LogitsComparison {
  std::vector<RowFigures> rows;                                        // [T]
  double max_difference = 0, mean_difference = 0, p99_difference = 0;  // over the finite rows
  double kl_max = 0, kl_mean = 0;
  std::int64_t kl_max_position = -1;
  std::int64_t agreeing = 0;           // positions with the same top token
  std::int64_t compared = 0;           // positions where both sides are finite
  std::int64_t first_divergence = -1;  // position of the first disagreement; -1: none
  std::int64_t own_not_finite = 0, reference_not_finite = 0;
  std::int64_t first_not_finite = -1;  // of either side
  bool bit_equal = true;
};

// Files with equal positions() and vocabulary().
LogitsComparison compare_logits(const LogitsFile& reference, const LogitsFile& own);

}  // namespace tetrad::parity
