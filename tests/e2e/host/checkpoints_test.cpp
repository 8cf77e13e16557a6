// `host checkpoints`.
#include "launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "unit/train_data/checkpoint_content.h"

namespace tetrad::e2e {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class Checkpoints : public testing::Test {
 protected:
  Checkpoints() {
    train::CheckpointStore store({.folder = folder_, .keep_last = 3});
    for (const std::int64_t step : {10, 20, 30}) store.save(test::content_of(step));
  }
  void damage(const std::string& file) const {
    std::fstream stream(folder_ / file, std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp(-1, std::ios::end);
    stream.put('\x5A');
  }

  Workplace place_;
  fs::path folder_ = place_.path("checkpoints");
};

TEST_F(Checkpoints, WholeOnes) {
  const Result all = run_host({"checkpoints", "verify", folder_.string()});
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_THAT(all.out, AllOf(HasSubstr("verified  step-00000010  0.0 MB, 5 tensors\n"),
                             HasSubstr("verified  step-00000030  0.0 MB, 5 tensors, latest\n")));
  const Result one = run_host({"checkpoints", "verify", (folder_ / "step-00000020/").string(), "--json"});
  EXPECT_EQ(one.exit_code, 0);
  const auto entries = nlohmann::json::parse(one.out).at("checkpoints");
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].at("step"), 20);
  EXPECT_THAT(entries[0].at("folder").get<std::string>(), testing::EndsWith("/step-00000020"));
  EXPECT_EQ(entries[0].at("identity").at("model"), "tiny");
}

TEST_F(Checkpoints, DamagedOnes) {
  damage("step-00000020/weights.safetensors");
  const Result listed = run_host({"checkpoints", "list", folder_.string()});
  EXPECT_EQ(listed.exit_code, 0) << "only verify reads the tensors";
  EXPECT_THAT(listed.out, HasSubstr("complete  step-00000020"));
  const Result verified = run_host({"checkpoints", "verify", folder_.string()});
  EXPECT_EQ(verified.exit_code, 1);
  EXPECT_THAT(verified.out,
              AllOf(HasSubstr("verified  step-00000010"), HasSubstr("damaged   step-00000020: [checkpoint] "),
                    HasSubstr("its checksum differs"), HasSubstr("verified  step-00000030")));
  damage("step-00000030/manifest.json");
  EXPECT_EQ(run_host({"checkpoints", "list", folder_.string()}).exit_code, 1);
}

TEST_F(Checkpoints, NeitherKindOfFolder) {
  const Result none = run_host({"checkpoints", "list", place_.path("nothing")});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("neither a checkpoint"));
  EXPECT_EQ(run_host({"checkpoints", "list"}).exit_code, 2);
}

}  // namespace
}  // namespace tetrad::e2e
