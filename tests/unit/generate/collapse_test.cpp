#include "generate/collapse.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace tetrad::generate {
namespace {

std::vector<std::int32_t> cycle(int prefix, const std::vector<std::int32_t>& period, int repeats) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(prefix));
  std::iota(ids.begin(), ids.end(), 1000);
  for (int i = 0; i < repeats; ++i) ids.insert(ids.end(), period.begin(), period.end());
  return ids;
}

TEST(Collapse, finds_a_repeated_token) {
  const auto found = find_collapse(cycle(5, {0}, 24));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->period, 1);
  EXPECT_EQ(found->repeats, 24);
  EXPECT_EQ(describe(*found), "the same token 24 times in a row");
}

TEST(Collapse, finds_cycles_up_to_eight) {
  for (int period = 2; period <= 8; ++period) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(period));
    std::iota(ids.begin(), ids.end(), 1);
    const auto found = find_collapse(cycle(3, ids, 24));
    ASSERT_TRUE(found) << period;
    EXPECT_EQ(found->period, period);
  }
}

TEST(Collapse, leaves_ordinary_output_alone) {
  EXPECT_FALSE(find_collapse({}));
  EXPECT_FALSE(find_collapse(cycle(100, {}, 0)));
  EXPECT_FALSE(find_collapse(cycle(0, {7}, 23)));                          // one short
  EXPECT_FALSE(find_collapse(cycle(0, {1, 2, 3, 4, 5, 6, 7, 8}, 5)));      // five lines that begin alike
  EXPECT_FALSE(find_collapse(cycle(0, {1, 2, 3, 4, 5, 6, 7, 8, 9}, 10)));  // a cycle of nine
  auto recovered = cycle(0, {7}, 40);
  recovered.push_back(8);
  EXPECT_FALSE(find_collapse(recovered));  // only the end of the output counts
}

}  // namespace
}  // namespace tetrad::generate
