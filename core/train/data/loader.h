// Batches out of one or more data sets: which example comes next, and how examples share rows. Contract: the
// sequence of batches is a function of the data sets' identities and the settings alone, on every machine;
// the cursor between two batches is a few numbers, and a loader that restores it goes on with the same
// batches to the bit. Order: in each pass over a data set every example comes once, in an order of its own
// (by the seed); data sets take turns so that after n examples each has given its weight's share, give or
// take one.
#pragma once

#include "train/data/batch.h"
#include "train/data/dataset.h"

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::train {

struct DataSource {
  std::shared_ptr<const Dataset> data;
  double weight = 1;  // share of the examples, in proportion to the others' weights; > 0
};

enum class Passes {
  endless,  // for training: data sets start over, in a new order
  one,      // for evaluation: every example once, one data set after another, in the file's order
};

struct LoaderSettings {
  std::int64_t rows = 1;
  std::int64_t width = 1024;  // positions of a row; no example is longer
  bool pack = true;     // several examples in a row; else one each, and rows as short as the longest allows
  bool shuffle = true;  // endless: a new order for each pass; else the file's
  Passes passes = Passes::endless;
  std::uint64_t seed = 0;
};

class BatchLoader {
 public:
  // Throws Error(usage) for no source, a weight that is not positive, rows or width below 1, or an example
  // that is longer than `width`.
  BatchLoader(std::vector<DataSource> sources, const LoaderSettings& settings);

  // The next batch; nothing after the last one of Passes::one. The batch ends with the first example that no
  // row has room for, which then opens the next batch. packed width: `width`; unpacked: the longest row,
  // rounded up to a multiple of 16, at most `width`.
  std::optional<Batch> next();

  // Where the next batch starts: {"format": 1, "data": identity, "drawn": [examples taken from each source]}.
  nlohmann::json cursor() const;
  // Throws Error, and changes nothing, when the cursor is malformed or belongs to other data or settings.
  void restore(const nlohmann::json& cursor);

  // Back to the first batch.
  void rewind();

  // Changes when data, tokenizer, weights or settings change what the batches are.
  const std::string& identity() const noexcept { return identity_; }
  // Examples taken so far, and passes finished, of each source.
  std::vector<std::uint64_t> drawn() const { return drawn_; }
  // Shares as they will be: [{file, weight, examples,
  // share_of_examples, share_of_positions, share_of_scored}].
  nlohmann::json mixture() const;

 private:
  struct Pick {
    std::size_t source = 0;
    std::size_t index = 0;
  };
  std::optional<Pick> peek();
  std::size_t in_order(std::size_t source, std::uint64_t draw);

  std::vector<DataSource> sources_;
  LoaderSettings settings_;
  std::string identity_;
  std::vector<std::uint64_t> drawn_;

  struct Order {
    std::uint64_t pass = ~std::uint64_t{0};
    std::vector<std::uint32_t> indices;
  };
  std::vector<Order> orders_;  // of each source's current pass; remembered, not state
};

}  // namespace tetrad::train
