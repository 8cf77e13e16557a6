#include "parity/compare/logits.h"

#include "parity/compare/arm_file.h"
#include "parity/compare/quantile.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace tetrad::parity {

namespace {

static_assert(sizeof(float) == 4);

constexpr const char* run_again = "; run this arm again with --resume after removing its folder";

const io::TensorView& tensor(const io::SafetensorsFile& file, const char* name, io::DType dtype,
                             std::size_t rank) {
  const io::TensorView* found = file.find(name);
  if (found == nullptr) refuse(file.path(), fmt::format("it has no tensor '{}'", name));
  if (found->dtype != dtype || found->shape.size() != rank) {
    refuse(file.path(), fmt::format("'{}' is {}, not {} of {} dimension(s)", name,
                                    io::describe(found->dtype, found->shape), io::dtype_name(dtype), rank));
  }
  return *found;
}

}  // namespace

LogitsFile::LogitsFile(const std::filesystem::path& file) : file_(open_tensors(file, run_again)) {
  logits_ = &tensor(file_, "logits", io::DType::f32, 2);
  const io::TensorView& ids = tensor(file_, "input_ids", io::DType::i64, 1);
  if (ids.shape[0] != logits_->shape[0]) {
    refuse(file, fmt::format("{} input_ids, but logits {}", ids.shape[0], io::describe(logits_->shape)));
  }
  if (logits_->shape[0] == 0) refuse(file, "it has no positions: there is nothing to compare");
  if (logits_->shape[1] == 0) refuse(file, "its vocabulary is empty");
  vocabulary_ = logits_->shape[1];
  ids_.resize(static_cast<std::size_t>(ids.shape[0]));
  std::memcpy(ids_.data(), ids.bytes.data(), ids.bytes.size());
}

void LogitsFile::read_row(std::int64_t i, std::span<float> to) const {
  const std::size_t bytes = static_cast<std::size_t>(vocabulary_) * sizeof(float);
  const auto row = logits_->bytes.subspan(static_cast<std::size_t>(i) * bytes, bytes);
  std::memcpy(to.data(), row.data(), bytes);
}

LogitsComparison compare_logits(const LogitsFile& reference, const LogitsFile& own) {
  LogitsComparison result;
  const auto width = static_cast<std::size_t>(reference.vocabulary());
  std::vector<float> r(width);
  std::vector<float> o(width);
  Quantile p99(0.99);
  double sum = 0;
  double kl_sum = 0;
  for (std::int64_t i = 0; i < reference.positions(); ++i) {
    reference.read_row(i, r);
    own.read_row(i, o);
    const RowFigures row = compare_rows(r, o);
    result.rows.push_back(row);
    result.bit_equal = result.bit_equal && std::memcmp(r.data(), o.data(), width * sizeof(float)) == 0;
    result.reference_not_finite += row.reference_finite ? 0 : 1;
    result.own_not_finite += row.own_finite ? 0 : 1;
    if (!row.reference_finite || !row.own_finite) {
      if (result.first_not_finite < 0) result.first_not_finite = i;
      continue;
    }
    ++result.compared;
    sum += row.sum_difference;
    kl_sum += row.kl;
    result.max_difference = std::max(result.max_difference, row.max_difference);
    if (result.kl_max_position < 0 || row.kl > result.kl_max) {
      result.kl_max = row.kl;
      result.kl_max_position = i;
    }
    if (row.agrees) {
      ++result.agreeing;
    } else if (result.first_divergence < 0) {
      result.first_divergence = i;
    }
    for (std::size_t j = 0; j < width; ++j) p99.count(std::fabs(r[j] - o[j]));
  }
  if (result.compared == 0) return result;
  result.mean_difference = sum / (static_cast<double>(result.compared) * static_cast<double>(width));
  result.kl_mean = kl_sum / static_cast<double>(result.compared);
  p99.narrow();
  for (std::int64_t i = 0; i < reference.positions(); ++i) {
    const RowFigures& row = result.rows[static_cast<std::size_t>(i)];
    if (!row.reference_finite || !row.own_finite) continue;
    reference.read_row(i, r);
    own.read_row(i, o);
    for (std::size_t j = 0; j < width; ++j) p99.count_again(std::fabs(r[j] - o[j]));
  }
  result.p99_difference = p99.value();
  return result;
}

}  // namespace tetrad::parity
