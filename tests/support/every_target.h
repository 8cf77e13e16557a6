// A test suite that runs once for every vector target that this machine has (Highway's run-time dispatch):
// derive the fixture and instantiate it with
//   INSTANTIATE_TEST_SUITE_P(Target, Fixture, testing::ValuesIn(test::vector_targets()), test::target_name);
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tetrad::test {

class EveryTarget : public testing::TestWithParam<std::int64_t> {
 protected:
  void SetUp() override { hwy::GetChosenTarget().Update(GetParam()); }
  void TearDown() override { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }
};

inline std::vector<std::int64_t> vector_targets() {
  std::vector<std::int64_t> out;
  for (std::int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1) out.push_back(left & -left);
  return out;
}

inline std::string target_name(const testing::TestParamInfo<std::int64_t>& tested) {
  return hwy::TargetName(tested.param);
}

}  // namespace tetrad::test
