#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "io/json.h"

namespace tetrad::model {
namespace {

// Distance in float32 steps.
std::int64_t ulps(double a, double b) {
  const auto bits = [](double value) {
    const auto narrow = static_cast<float>(value);
    std::int32_t result = 0;
    static_assert(sizeof result == sizeof narrow);
    std::memcpy(&result, &narrow, sizeof result);
    return std::int64_t{result};
  };
  return std::abs(bits(a) - bits(b));
}

// Golden values from transformers (tests/oracle/make_rope_golden.py). Its vectorised power function may be
// one step off the correctly rounded value, and later steps may double that.
TEST(Rope, equals_transformers) {
  const auto cases = io::read_json(TETRAD_SOURCE_DIR "/tests/data/model/rope.json");
  ASSERT_GE(cases.size(), 20u);
  std::int64_t equal = 0, all = 0;
  for (const auto& golden : cases) {
    const auto config = ModelConfig::parse(golden["config"], "golden");
    const auto computed = rope_inverse_frequencies(config);
    const auto& expected = golden["inv_freq"];
    EXPECT_NEAR(computed.attention_scaling, golden["attention_scaling"].get<double>(), 1e-15)
        << golden["config"];
    ASSERT_EQ(computed.inv_freq.size(), expected.size()) << golden["config"];
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::int64_t off = ulps(computed.inv_freq[i], expected[i].get<double>());
      EXPECT_LE(off, 3) << "i=" << i << " " << computed.inv_freq[i] << " for " << golden["config"];
      equal += off == 0;
      ++all;
    }
  }
  EXPECT_GT(equal * 100, all * 97) << equal << " of " << all << " are bit-equal";
  RecordProperty("bit_equal", std::to_string(equal) + "/" + std::to_string(all));
}

TEST(Rope, values_are_float32) {
  for (const auto& golden : io::read_json(TETRAD_SOURCE_DIR "/tests/data/model/rope.json")) {
    for (const double value :
         rope_inverse_frequencies(ModelConfig::parse(golden["config"], "golden")).inv_freq) {
      EXPECT_EQ(value, static_cast<double>(static_cast<float>(value)));
    }
  }
}

}  // namespace
}  // namespace tetrad::model
