// What a user of a GPU does first, from the launcher down, under the guard: chats on both paths, training
// that is stopped and goes on, the check of plugins and of the machine. Skipped without a device.
#include "engine_place.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

namespace tetrad::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

// Sizes that the kernels of a decode step take.
json device_config() {
  json config = test::tiny_config();
  config["hidden_size"] = 64;
  config["head_dim"] = 64;
  config["tie_word_embeddings"] = true;
  return config;
}

class GpuRuns : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists("/dev/nvidiactl")) GTEST_SKIP() << "no NVIDIA device";
    place_.write(
        "c.yaml",
        "task: chat\nmodel: {path: \"" + place_.model().string() +
            "\", dtype: bfloat16, device: cuda}\nlinear: {plugin: backend-nvfp4}\n"
            "kv_cache: {plugin: kvc-persistent}\nrun: {dir: null}\nguard: {limit_gb: 16}\n"
            "chat: {max_tokens: 5, turns: 3, prompt: Hello, followup_prompt: More, collapse: flag}\n");
  }
  EnginePlace place_{device_config()};
};

TEST_F(GpuRuns, ThreeTurnsOnEachPathUnderTheGuard) {
  for (const std::string path : {"training", "bridge"}) {
    const Result result = EnginePlace::run({"--config", place_.config(), "--set", "path=" + path});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("device=cuda:0"));
    EXPECT_THAT(result.err, HasSubstr("[device] ")) << "the allocator's limit";
    for (int turn = 1; turn <= 3; ++turn) {
      const std::string mark = "[kvc] turn=" + std::to_string(turn) + " seqLen=";
      const std::size_t at = result.err.find(mark);
      ASSERT_NE(at, std::string::npos) << result.err;
      const int length = std::atoi(result.err.c_str() + at + mark.size());
      EXPECT_THAT(result.err, HasSubstr(mark + std::to_string(length) +
                                        " contextTokens=" + std::to_string(length) + " "));
    }
  }
}

std::map<std::string, std::string> tensors_of(const fs::path& folder) {
  std::map<std::string, std::string> found;
  for (const auto& file : fs::recursive_directory_iterator(folder)) {
    if (file.path().extension() != ".safetensors") continue;
    std::ifstream in(file.path(), std::ios::binary);
    found[file.path().lexically_relative(folder).string()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return found;
}

TEST_F(GpuRuns, TrainingGoesOnFromItsCheckpointToTheSameBits) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "line " + std::to_string(i * 37 % 101) + " of a text to learn\n";
  place_.write("text.txt", text);
  const auto train = [&](const std::string& save, int steps) {
    const Result result =
        EnginePlace::run({"train", "--config", place_.config(), "--set", "optimizer.plugin=optim-adamw-nvfp4",
                          "train.data=[" + place_.path("text.txt") + "]", "train.rows=2", "train.width=32",
                          "run.deterministic=true", "train.schedule=constant", "train.learning_rate=1e-3",
                          "train.save_dir=" + place_.path(save), "train.keep_last=1", "train.resume=true",
                          "train.steps=" + std::to_string(steps)});
    EXPECT_EQ(result.exit_code, 0) << result.err;
  };
  train("at once", 6);
  train("in two", 3);
  train("in two", 6);
  const auto at_once = tensors_of(place_.path("at once")), in_two = tensors_of(place_.path("in two"));
  ASSERT_FALSE(at_once.empty());
  EXPECT_EQ(at_once, in_two);
}

TEST_F(GpuRuns, PluginsKeepTheirPromisesOnTheDevice) {
  // Of a linear backend one case of each kind: all of them take minutes, and doctor --verify runs their
  // arithmetic.
  const std::vector<std::pair<std::string, std::vector<std::string>>> checks = {
      {"backend-nvfp4",
       {"linear/lifecycle/*/bfloat16", "linear/stale/*/bfloat16", "linear/bad-calls/*/bfloat16"}},
      {"backend-bf16", {"linear/forward/*", "linear/grad*", "linear/bad-calls/*/bfloat16"}},
      {"kvc-persistent", {"*"}},
      {"optim-adamw-nvfp4", {"*"}},
      {"optim-adamw", {"*"}},
      {"optim-adamw-int8", {"*"}}};
  for (const auto& [plugin, cases] : checks) {
    std::vector<std::string> words = {"plugins", "check", plugin, "--device", "cuda"};
    for (const std::string& pattern : cases) words.insert(words.end(), {"--case", pattern});
    const Result result = EnginePlace::run(words);
    EXPECT_EQ(result.exit_code, 0) << plugin << '\n' << result.out << result.err;
  }
}

}  // namespace
}  // namespace tetrad::e2e
