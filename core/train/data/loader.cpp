#include "train/data/loader.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

namespace tetrad::train {
namespace {

constexpr int cursor_format = 1;

// SplitMix64 (Steele, Lea and Flood, 2014). Spelled out, because the standard library's distributions and
// std::shuffle differ between implementations, and the order is part of what a resumed run must repeat.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  // Uniform in [0, n): values of the last, incomplete round of n are drawn again.
  std::uint64_t below(std::uint64_t n) {
    const std::uint64_t reject = (0 - n) % n;  // 2^64 mod n
    for (;;) {
      const std::uint64_t value = next();
      if (value >= reject) return value % n;
    }
  }

 private:
  std::uint64_t state_;
};

std::vector<std::uint32_t> order_of_pass(std::size_t size, std::uint64_t seed, std::uint64_t source,
                                         std::uint64_t pass) {
  std::vector<std::uint32_t> order(size);
  std::iota(order.begin(), order.end(), 0U);
  Random random(Random(seed ^ Random(source).next()).next() ^ Random(~pass).next());
  for (std::size_t i = size; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

// Rows that are being filled.
class Rows {
 public:
  explicit Rows(const LoaderSettings& settings)
      : settings_(settings), used_(static_cast<std::size_t>(settings.rows)) {}

  // False when no row has room.
  bool place(const ExampleView& example) {
    const auto positions = static_cast<std::int64_t>(example.ids.size()) - 1;
    const auto fits = [&](const Row& row) {
      return settings_.pack ? row.used + positions <= settings_.width : row.used == 0;
    };
    const auto row = std::find_if(used_.begin(), used_.end(), fits);
    if (row == used_.end()) return false;
    row->used += positions;
    row->examples.push_back(example);
    return true;
  }

  Batch batch() const {
    Batch batch;
    batch.rows = settings_.rows;
    batch.width = settings_.width;
    if (!settings_.pack) {
      std::int64_t longest = 1;
      for (const Row& row : used_) longest = std::max(longest, row.used);
      batch.width = std::min(settings_.width, (longest + 15) / 16 * 16);
    }
    const auto size = static_cast<std::size_t>(batch.rows * batch.width);
    batch.ids.assign(size, 0);
    batch.positions.assign(size, 0);
    batch.targets.assign(size, Batch::not_scored);
    batch.documents.assign(size, Batch::padding);
    for (std::size_t r = 0; r < used_.size(); ++r) {
      std::size_t at = r * static_cast<std::size_t>(batch.width);
      for (std::size_t d = 0; d < used_[r].examples.size(); ++d) {
        const ExampleView& example = used_[r].examples[d];
        const std::size_t positions = example.ids.size() - 1;
        for (std::size_t i = 0; i < positions; ++i) {
          batch.ids[at + i] = example.ids[i];
          batch.positions[at + i] = static_cast<std::int64_t>(i);
          batch.documents[at + i] = static_cast<std::int64_t>(d);
        }
        for (const Span& span : example.learn) {
          for (auto i = static_cast<std::size_t>(span.begin); i < static_cast<std::size_t>(span.end); ++i)
            batch.targets[at + i - 1] = example.ids[i];
          batch.scored += span.end - span.begin;
        }
        at += positions;
        batch.tokens += static_cast<std::int64_t>(positions);
        ++batch.examples;
      }
    }
    return batch;
  }

 private:
  struct Row {
    std::int64_t used = 0;
    std::vector<ExampleView> examples;
  };
  const LoaderSettings& settings_;
  std::vector<Row> used_;
};

}  // namespace

BatchLoader::BatchLoader(std::vector<DataSource> sources, const LoaderSettings& settings)
    : sources_(std::move(sources)),
      settings_(settings),
      drawn_(sources_.size(), 0),
      orders_(sources_.size()) {
  const auto refuse = [](const std::string& what) { throw Error(ExitCode::usage, "[data] " + what); };
  if (sources_.empty()) refuse("there is no data set to take batches from");
  if (settings_.rows < 1 || settings_.width < 1 || settings_.rows > (std::int64_t{1} << 40) / settings_.width)
    refuse(fmt::format("a batch of {} rows of {} positions cannot be made", settings_.rows, settings_.width));
  Sha256 digest;
  digest.update(fmt::format("order 1 rows {} width {} pack {} shuffle {} passes {} seed {}\n", settings_.rows,
                            settings_.width, settings_.pack, settings_.shuffle,
                            settings_.passes == Passes::one ? "one" : "endless", settings_.seed));
  for (const DataSource& source : sources_) {
    const LoadReport& report = source.data->report();
    if (!std::isfinite(source.weight) || source.weight <= 0)
      refuse(fmt::format("{}: the weight {} is not a number > 0", report.name, source.weight));
    if (report.longest > settings_.width)
      refuse(fmt::format("{}: an example has {} positions, and a row has {}", report.name, report.longest,
                         settings_.width));
    digest.update(fmt::format("{} {:a}\n", source.data->identity(), source.weight));
  }
  identity_ = digest.hex_digest();
}

std::size_t BatchLoader::in_order(std::size_t source, std::uint64_t draw) {
  const std::size_t size = sources_[source].data->size();
  const std::uint64_t pass = draw / size;
  const auto place = static_cast<std::size_t>(draw % size);
  if (!settings_.shuffle || settings_.passes == Passes::one) return place;
  Order& order = orders_[source];
  if (order.pass != pass) {
    order.indices = order_of_pass(size, settings_.seed, source, pass);
    order.pass = pass;
  }
  return order.indices[place];
}

std::optional<BatchLoader::Pick> BatchLoader::peek() {
  std::size_t source = 0;
  if (settings_.passes == Passes::one) {
    while (source < sources_.size() && drawn_[source] == sources_[source].data->size()) ++source;
    if (source == sources_.size()) return {};
  } else {
    // The one that is furthest behind its share; the half keeps the beginning in proportion too.
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const double served = (static_cast<double>(drawn_[i]) + 0.5) / sources_[i].weight;
      if (served < least) {
        least = served;
        source = i;
      }
    }
  }
  return Pick{source, in_order(source, drawn_[source])};
}

std::optional<Batch> BatchLoader::next() {
  Rows rows(settings_);
  bool any = false;
  while (const std::optional<Pick> pick = peek()) {
    if (!rows.place(sources_[pick->source].data->example(pick->index))) break;
    ++drawn_[pick->source];
    any = true;
  }
  if (!any) return {};
  return rows.batch();
}

nlohmann::json BatchLoader::cursor() const {
  return {{"format", cursor_format}, {"data", identity_}, {"drawn", drawn_}};
}

void BatchLoader::restore(const nlohmann::json& cursor) {
  const auto refuse = [](const std::string& what) {
    throw Error("[data] the stored place in the data cannot be taken up: " + what);
  };
  const auto format = cursor.is_object() ? cursor.find("format") : cursor.end();
  if (!cursor.is_object() || format == cursor.end() || !format->is_number_integer() ||
      *format != cursor_format) {
    refuse(fmt::format("it is not of format {}", cursor_format));
  }
  const auto data = cursor.find("data"), drawn = cursor.find("drawn");
  if (data == cursor.end() || !data->is_string() || *data != identity_) {
    refuse(
        "files, tokenizer, weights, row length, rows or seed are not those it was made with; use the same "
        "ones, "
        "or start a new run from the checkpoint's weights");
  }
  if (drawn == cursor.end() || !drawn->is_array() || drawn->size() != sources_.size())
    refuse("it has not one number for each data set");
  std::vector<std::uint64_t> counts;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const nlohmann::json& count = (*drawn)[i];
    if (!count.is_number_integer() || count < 0) refuse("a count is not a number >= 0");
    counts.push_back(count.get<std::uint64_t>());
    if (settings_.passes == Passes::one && counts.back() > sources_[i].data->size())
      refuse("it lies behind the end of the data");
  }
  drawn_ = std::move(counts);
}

void BatchLoader::rewind() {
  std::fill(drawn_.begin(), drawn_.end(), 0);
}

nlohmann::json BatchLoader::mixture() const {
  // Of one example of a source, on average.
  const auto mean = [&](std::size_t i, std::int64_t total) {
    return static_cast<double>(total) / static_cast<double>(sources_[i].data->size());
  };
  double weights = 0, positions = 0, scored = 0;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const LoadReport& report = sources_[i].data->report();
    weights += sources_[i].weight;
    positions += sources_[i].weight * mean(i, report.positions);
    scored += sources_[i].weight * mean(i, report.scored);
  }
  nlohmann::json result = nlohmann::json::array();
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const LoadReport& report = sources_[i].data->report();
    const double weight = sources_[i].weight;
    result.push_back({{"file", report.name},
                      {"weight", weight},
                      {"examples", report.examples},
                      {"share_of_examples", weight / weights},
                      {"share_of_positions", weight * mean(i, report.positions) / positions},
                      {"share_of_scored", weight * mean(i, report.scored) / scored}});
  }
  return result;
}

}  // namespace tetrad::train
