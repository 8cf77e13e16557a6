#include "train/data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "support/error_text.h"
#include "support/tiny_model.h"
#include "text/tokenizer.h"
#include "text/turn_format.h"

namespace tetrad::train {
namespace {

using test::error_text;
using ::testing::HasSubstr;

struct Fixture {
  text::Tokenizer tokenizer = text::Tokenizer::parse(test::tiny_tokenizer(), "tokenizer.json");
  text::TurnFormat turns =
      text::TurnFormat::derive(text::ChatTemplate(test::chatml_template, "chat"), tokenizer);

  // `count` pairs of different lengths, each with a word of its own.
  std::shared_ptr<const Dataset> pairs(int count, std::uint32_t seed, char letter = 'a') const {
    std::mt19937 random(seed);
    std::string text;
    for (int i = 0; i < count; ++i)
      text += std::string(1, letter) + std::to_string(i) + "\t" + std::string(1 + random() % 30, letter) +
              std::to_string(i) + "\n";
    DatasetSettings settings;
    settings.file = std::string(1, letter) + ".tsv";
    settings.width = 200;
    return std::make_shared<Dataset>(Dataset::parse(text, settings, turns, tokenizer));
  }
};

std::vector<std::int32_t> as_ids(ExampleView example) {
  return {example.ids.begin(), example.ids.end()};
}

// The documents of a batch as they would be alone: ids with the last target behind them; checks every rule of
// Batch on the way.
std::vector<std::vector<std::int32_t>> documents_of(const Batch& batch) {
  std::vector<std::vector<std::int32_t>> result;
  std::int64_t tokens = 0, scored = 0;
  const auto size = static_cast<std::size_t>(batch.rows * batch.width);
  EXPECT_EQ(batch.ids.size(), size);
  EXPECT_EQ(batch.targets.size(), size);
  EXPECT_EQ(batch.positions.size(), size);
  EXPECT_EQ(batch.documents.size(), size);
  for (std::int64_t r = 0; r < batch.rows; ++r) {
    std::int64_t document = -1;
    bool padding = false;
    for (std::int64_t c = 0; c < batch.width; ++c) {
      const auto at = static_cast<std::size_t>(r * batch.width + c);
      if (batch.documents[at] == Batch::padding) {
        padding = true;
        EXPECT_EQ(batch.ids[at], 0);
        EXPECT_EQ(batch.positions[at], 0);
        EXPECT_EQ(batch.targets[at], Batch::not_scored);
        continue;
      }
      EXPECT_FALSE(padding) << "padding only at a row's end";
      if (batch.documents[at] != document) {
        EXPECT_EQ(batch.documents[at], ++document);
        EXPECT_EQ(batch.positions[at], 0);
        result.emplace_back();
      } else {
        EXPECT_EQ(batch.positions[at], batch.positions[at - 1] + 1);
      }
      result.back().push_back(static_cast<std::int32_t>(batch.ids[at]));
      const bool last = c + 1 == batch.width || batch.documents[at + 1] != document;
      if (batch.targets[at] != Batch::not_scored) {
        ++scored;
        EXPECT_TRUE(last || batch.targets[at] == batch.ids[at + 1]);
      }
      if (last) {
        EXPECT_NE(batch.targets[at], Batch::not_scored) << "a document ends with something to learn";
        result.back().push_back(static_cast<std::int32_t>(batch.targets[at]));
      }
      ++tokens;
    }
  }
  EXPECT_EQ(batch.tokens, tokens);
  EXPECT_EQ(batch.scored, scored);
  EXPECT_EQ(batch.examples, static_cast<std::int64_t>(result.size()));
  return result;
}

TEST(BatchLoader, OnePassHasEveryExampleOnceInOrder) {
  const Fixture f;
  const auto a = f.pairs(37, 1), b = f.pairs(5, 2, 'b');
  for (const bool pack : {true, false}) {
    LoaderSettings settings{.rows = 3, .width = 200, .pack = pack, .passes = Passes::one};
    BatchLoader loader({{a, 0.1}, {b, 9}}, settings);
    std::multiset<std::vector<std::int32_t>> seen, expected;
    std::int64_t scored = 0;
    while (const auto batch = loader.next()) {
      for (auto& document : documents_of(*batch)) seen.insert(std::move(document));
      scored += batch->scored;
      if (pack) {
        EXPECT_EQ(batch->width, 200);
      } else {
        EXPECT_EQ(batch->width % 16, 0);
        EXPECT_LE(batch->examples, 3);
      }
    }
    for (const auto& data : {a, b})
      for (std::size_t i = 0; i < data->size(); ++i) expected.insert(as_ids(data->example(i)));
    EXPECT_EQ(seen, expected);
    EXPECT_EQ(scored, a->report().scored + b->report().scored);
    EXPECT_FALSE(loader.next());
    loader.rewind();
    EXPECT_TRUE(loader.next());
  }
}

TEST(BatchLoader, EachPassHasEveryExampleOnceInANewOrder) {
  const Fixture f;
  const auto data = f.pairs(50, 3);
  std::map<std::vector<std::int32_t>, std::size_t> index;
  for (std::size_t i = 0; i < data->size(); ++i) index[as_ids(data->example(i))] = i;
  // One example a batch shows the order.
  const auto passes = [&](LoaderSettings settings, int count) {
    settings.rows = 1, settings.width = 200, settings.pack = false;
    BatchLoader loader({{data, 1}}, settings);
    std::vector<std::vector<std::size_t>> result(static_cast<std::size_t>(count));
    for (auto& pass : result)
      for (std::size_t i = 0; i < data->size(); ++i)
        pass.push_back(index.at(documents_of(*loader.next()).front()));
    return result;
  };
  std::vector<std::size_t> sorted(50);
  for (std::size_t i = 0; i < 50; ++i) sorted[i] = i;
  std::set<std::vector<std::size_t>> different;
  for (const std::uint64_t seed : {0U, 1U}) {
    for (auto pass : passes({.seed = seed}, 3)) {
      different.insert(pass);
      std::sort(pass.begin(), pass.end());
      EXPECT_EQ(pass, sorted);
    }
    EXPECT_EQ(passes({.seed = seed}, 2), passes({.seed = seed}, 2));
  }
  EXPECT_EQ(different.size(), 6U);
  EXPECT_EQ(passes({.shuffle = false}, 2), std::vector<std::vector<std::size_t>>(2, sorted));
}

TEST(BatchLoader, AnOrderThatEveryMachineHas) {
  const Fixture f;
  const auto data = f.pairs(6, 4);
  BatchLoader loader({{data, 1}}, {.rows = 1, .width = 200, .pack = false, .seed = 7});
  std::string order;
  for (int i = 0; i < 12; ++i) {
    const auto document = documents_of(*loader.next()).front();
    for (std::size_t k = 0; k < data->size(); ++k)
      if (as_ids(data->example(k)) == document) order += std::to_string(k);
  }
  EXPECT_EQ(order, "045321314520") << "as a few lines of Python after the comments in loader.cpp give it";
}

TEST(BatchLoader, WeightsAreKeptAtEveryMoment) {
  const Fixture f;
  const auto a = f.pairs(7, 5), b = f.pairs(11, 6, 'b'), c = f.pairs(3, 7, 'c');
  BatchLoader loader({{a, 0.5}, {b, 3}, {c, 1.5}}, {.rows = 1, .width = 200, .pack = false});
  for (int n = 1; n <= 2000; ++n) {
    loader.next();
    const auto drawn = loader.drawn();
    const double weights[] = {0.1, 0.6, 0.3};
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_LE(std::abs(static_cast<double>(drawn[i]) - weights[i] * n), 1.0) << n << " " << i;
    }
  }
  const auto mixture = loader.mixture();
  EXPECT_DOUBLE_EQ(mixture.at(1).at("share_of_examples").get<double>(), 0.6);
  double scored = 0;
  for (const auto& source : mixture) scored += source.at("share_of_scored").get<double>();
  EXPECT_NEAR(scored, 1, 1e-12);
}

TEST(BatchLoader, PackingFillsRows) {
  const Fixture f;
  const auto data = f.pairs(300, 8);
  BatchLoader loader({{data, 1}}, {.rows = 4, .width = 400});
  std::int64_t tokens = 0, places = 0;
  for (int i = 0; i < 20; ++i) {
    const auto batch = loader.next();
    documents_of(*batch);
    tokens += batch->tokens;
    places += batch->rows * batch->width;
  }
  EXPECT_GT(static_cast<double>(tokens), 0.85 * static_cast<double>(places));
}

TEST(BatchLoader, AnyCursorGoesOnToTheSameBits) {
  const Fixture f;
  const auto a = f.pairs(23, 9), b = f.pairs(9, 10, 'b');
  for (const bool pack : {true, false}) {
    const LoaderSettings settings{.rows = 2, .width = 230, .pack = pack, .seed = 3};
    const auto make = [&] { return BatchLoader({{a, 1}, {b, 0.7}}, settings); };
    BatchLoader all = make();
    std::vector<Batch> batches;
    std::vector<std::string> cursors;
    for (int i = 0; i < 40; ++i) {
      cursors.push_back(all.cursor().dump());
      batches.push_back(*all.next());
    }
    for (std::size_t from = 0; from < 40; from += 7) {
      BatchLoader resumed = make();
      for (std::size_t skip = 0; skip < from % 5; ++skip) resumed.next();
      resumed.restore(nlohmann::json::parse(cursors[from]));
      for (std::size_t i = from; i < 40; ++i) ASSERT_EQ(*resumed.next(), batches[i]) << from << " " << i;
    }
    EXPECT_LT(cursors.back().size(), 200U);
  }
}

TEST(BatchLoader, AForeignCursorChangesNothing) {
  const Fixture f;
  const auto a = f.pairs(23, 9);
  const LoaderSettings settings{.rows = 2, .width = 200};
  BatchLoader loader({{a, 1}}, settings);
  loader.next();
  const auto place = loader.cursor();
  const auto refused = [&](nlohmann::json cursor) {
    const std::string error = error_text([&] { loader.restore(cursor); });
    EXPECT_EQ(loader.cursor(), place);
    return error;
  };
  for (const LoaderSettings& other :
       {LoaderSettings{.rows = 3, .width = 200}, LoaderSettings{.rows = 2, .width = 201},
        LoaderSettings{.rows = 2, .width = 200, .seed = 1},
        LoaderSettings{.rows = 2, .width = 200, .pack = false}})
    EXPECT_THAT(refused(BatchLoader({{a, 1}}, other).cursor()), HasSubstr("are not those it was made with"));
  EXPECT_THAT(refused(BatchLoader({{f.pairs(23, 10), 1}}, settings).cursor()), HasSubstr("not those"));
  EXPECT_THAT(refused(BatchLoader({{a, 2}}, settings).cursor()), HasSubstr("not those"));
  auto broken = place;
  broken["format"] = 2;
  EXPECT_THAT(refused(broken), HasSubstr("not of format 1"));
  broken = place;
  broken["drawn"] = {1, 2};
  EXPECT_THAT(refused(broken), HasSubstr("not one number for each data set"));
  broken["drawn"] = {-1};
  EXPECT_THAT(refused(broken), HasSubstr("not a number >= 0"));
  for (const char* text : {"null", "[]", "{}", "7", R"({"format": "1"})"})
    EXPECT_THAT(refused(nlohmann::json::parse(text)), HasSubstr("not of format 1"));
  BatchLoader one({{a, 1}}, {.rows = 2, .width = 200, .passes = Passes::one});
  auto behind = one.cursor();
  behind["drawn"] = {24};
  EXPECT_THAT(error_text([&] { one.restore(behind); }), HasSubstr("behind the end"));
}

TEST(BatchLoader, ImpossibleSettings) {
  const Fixture f;
  const auto a = f.pairs(3, 1);
  EXPECT_THAT(error_text([] { BatchLoader({}, {}); }), HasSubstr("no data set"));
  for (const double weight : {0.0, -1.0, std::nan("")})
    EXPECT_THAT(error_text([&] { BatchLoader({{a, weight}}, {}); }), HasSubstr("is not a number > 0"));
  EXPECT_THAT(error_text([&] { BatchLoader({{a, 1}}, {.rows = 0}); }), HasSubstr("0 rows"));
  EXPECT_THAT(error_text([&] { BatchLoader({{a, 1}}, {.width = 10}); }), HasSubstr("an example has"));
}

}  // namespace
}  // namespace tetrad::train
