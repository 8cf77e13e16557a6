#include "train/schedule/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "support/error_text.h"

namespace tetrad::train {
namespace {

using test::error_text;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Schedule, WarmUpThenDecay) {
  ScheduleSettings s{Decay::constant, 2.0, 10, 4, 0.25};
  EXPECT_EQ(learning_rate(s, 0), 0.5);
  EXPECT_EQ(learning_rate(s, 1), 1.0);
  EXPECT_EQ(learning_rate(s, 3), 2.0);
  for (const std::int64_t step : {4, 9, 100}) EXPECT_EQ(learning_rate(s, step), 2.0);
  s.decay = Decay::linear;
  EXPECT_EQ(learning_rate(s, 3), 2.0);
  EXPECT_EQ(learning_rate(s, 4), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(s, 7), 2.0 * (0.25 + 0.75 * 0.5));
  EXPECT_EQ(learning_rate(s, 10), 0.5);
  EXPECT_EQ(learning_rate(s, 1000), 0.5);
  s.decay = Decay::cosine;
  EXPECT_EQ(learning_rate(s, 4), 2.0);
  EXPECT_DOUBLE_EQ(learning_rate(s, 5), 2.0 * (0.25 + 0.75 * (1 + std::cos(std::numbers::pi / 6)) / 2));
  EXPECT_DOUBLE_EQ(learning_rate(s, 7), 2.0 * (0.25 + 0.75 * 0.5));
  EXPECT_EQ(learning_rate(s, 10), 0.5);
}

TEST(Schedule, AllWarmUpAndNone) {
  const ScheduleSettings all{Decay::linear, 1.0, 4, 4, 0};
  EXPECT_EQ(learning_rate(all, 3), 1.0);
  EXPECT_EQ(learning_rate(all, 4), 0.0);
  const ScheduleSettings none{Decay::linear, 1.0, 4, 0, 0};
  EXPECT_EQ(learning_rate(none, 0), 1.0);
  EXPECT_EQ(learning_rate(none, 3), 0.25) << "the last step still moves";
}

TEST(Schedule, SettingsOutOfRange) {
  const ScheduleSettings good{Decay::cosine, 1e-4, 10, 2, 0.1};
  check(good);
  const auto refused = [&](auto change) {
    ScheduleSettings bad = good;
    change(bad);
    return error_text([&] { check(bad); });
  };
  EXPECT_THAT(refused([](auto& s) { s.learning_rate = -1; }), HasSubstr("learning rate -1"));
  EXPECT_THAT(refused([](auto& s) { s.learning_rate = INFINITY; }), HasSubstr("learning rate inf"));
  EXPECT_THAT(refused([](auto& s) { s.steps = 0; }), HasSubstr("steps 0"));
  EXPECT_THAT(refused([](auto& s) { s.warmup_steps = 11; }), HasSubstr("warmup_steps 11 is outside 0 to 10"));
  EXPECT_THAT(refused([](auto& s) { s.final_share = NAN; }), HasSubstr("final_share nan"));
  EXPECT_EQ(parse_decay("linear"), Decay::linear);
  EXPECT_THAT(error_text([] { parse_decay("step"); }), HasSubstr("'step' is no schedule"));
}

TEST(WeightDecay, FirstRuleElseByDimensions) {
  const WeightDecay decay(0.1,
                          {{"*.layers.1?.mlp.*", 0.3}, {"*embed*", 0}, {"*.mlp.*", 0.2}, {"*norm*", 0.01}});
  EXPECT_EQ(decay.of("model.layers.12.mlp.up_proj.weight", 2), 0.3);
  EXPECT_EQ(decay.of("model.layers.2.mlp.up_proj.weight", 2), 0.2);
  EXPECT_EQ(decay.of("model.embed_tokens.weight", 2), 0);
  EXPECT_EQ(decay.of("model.layers.2.self_attn.q_proj.weight", 2), 0.1);
  EXPECT_EQ(decay.of("model.layers.2.input_layernorm.weight", 1), 0.01);
  EXPECT_EQ(decay.of("model.layers.2.self_attn.q_proj.bias", 1), 0);
  EXPECT_THAT(decay.unused({"model.embed_tokens.weight", "model.layers.2.mlp.up_proj.weight"}),
              ElementsAre("*.layers.1?.mlp.*", "*norm*"));
  EXPECT_THAT(error_text([] { WeightDecay(-0.1, {}); }), HasSubstr("weight decay -0.1"));
  EXPECT_THAT(error_text([] { WeightDecay(0, {{"", 1}}); }), HasSubstr("empty pattern"));
  EXPECT_THAT(error_text([] { WeightDecay(0, {{"a", NAN}}); }), HasSubstr("of 'a' is not"));
}

}  // namespace
}  // namespace tetrad::train
