#include "model/generation_config.h"

#include <gmock/gmock.h>

#include "sample_config.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

namespace tetrad::model {
namespace {

using nlohmann::json;
using test::error_text;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ModelConfig& qwen3() {
  static const ModelConfig config = ModelConfig::parse(test::qwen3_config(), "f");
  return config;
}

GenerationConfig parse(const json& config) {
  return GenerationConfig::parse(config, qwen3(), "g");
}

TEST(GenerationConfig, stop_tokens) {
  EXPECT_THAT(parse({{"eos_token_id", {151645, 151643}}}).eos_token_ids, ElementsAre(151645, 151643));
  EXPECT_THAT(parse({{"eos_token_id", 7}}).eos_token_ids, ElementsAre(7));
  EXPECT_THAT(parse({{"eos_token_id", json::array()}}).eos_token_ids, IsEmpty());
  EXPECT_THAT(parse({{"eos_token_id", nullptr}}).eos_token_ids, ElementsAre(151645));  // config.json's
  EXPECT_THAT(parse(json::object()).eos_token_ids, ElementsAre(151645));
}

TEST(GenerationConfig, sampling_defaults) {
  const auto config = parse({{"do_sample", true},
                             {"temperature", 0.7},
                             {"top_p", 0.8},
                             {"top_k", 20},
                             {"pad_token_id", 151643},
                             {"bos_token_id", 5}});
  EXPECT_EQ(config.do_sample, true);
  EXPECT_EQ(config.temperature, 0.7);
  EXPECT_EQ(config.top_p, 0.8);
  EXPECT_EQ(config.top_k, 20);
  EXPECT_EQ(config.bos_token_id, 5);
  EXPECT_EQ(config.pad_token_id, 151643);
  EXPECT_FALSE(config.min_p);
  EXPECT_FALSE(config.repetition_penalty);
  EXPECT_EQ(parse(json::object()).bos_token_id, 151643);
}

TEST(GenerationConfig, without_the_file) {
  test::TempDir dir;
  EXPECT_THAT(GenerationConfig::load(dir.path(), qwen3()).eos_token_ids, ElementsAre(151645));
  dir.write("generation_config.json", R"({"eos_token_id": 3})");
  EXPECT_THAT(GenerationConfig::load(dir.path(), qwen3()).eos_token_ids, ElementsAre(3));
  dir.write("generation_config.json", "{");
  EXPECT_THAT(error_text([&] { GenerationConfig::load(dir.path(), qwen3()); }),
              HasSubstr("generation_config.json: line 1"));
}

TEST(GenerationConfig, errors) {
  const auto refusal = [](const json& config) { return error_text([&] { parse(config); }); };
  EXPECT_THAT(refusal({{"eos_token_id", 151936}}),
              HasSubstr("[config] g: 'eos_token_id' is 151936, outside 0 to 151935"));
  EXPECT_THAT(refusal({{"eos_token_id", "</s>"}}), HasSubstr("not a whole number"));
  EXPECT_THAT(refusal({{"eos_token_id", {1, "2"}}}),
              HasSubstr("'eos_token_id' is \"2\", not a whole number"));
  EXPECT_THAT(refusal({{"top_p", 1.5}}), HasSubstr("'top_p' is 1.5, outside 0 to 1"));
  EXPECT_THAT(refusal({{"temperature", -1}}), HasSubstr("'temperature' is -1, outside"));
  EXPECT_THAT(refusal({{"top_k", 1.5}}), HasSubstr("'top_k' is 1.5, not a whole number"));
  EXPECT_THAT(refusal({{"do_sample", "yes"}}), HasSubstr("'do_sample' is \"yes\", not true or false"));
  EXPECT_THAT(refusal({{"repetition_penalty", 0}}), HasSubstr("'repetition_penalty' is 0, outside"));
  EXPECT_THAT(refusal(json(1)), HasSubstr("not an object but number"));
}

}  // namespace
}  // namespace tetrad::model
