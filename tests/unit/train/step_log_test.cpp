// What a step's line, its metrics and the bar say; and the operations that the share of the roofline counts,
// against figures worked out by hand for Qwen3-4B.
#include "cli/engine/step_log.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "cli/engine/memory_room.h"
#include "train/trainer/settings.h"
#include "train/trainer/step_flops.h"

namespace tetrad {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using train::Checkpointing;

model::ModelConfig qwen3_4b() {
  model::ModelConfig c;
  c.hidden_size = 2560;
  c.intermediate_size = 9728;
  c.num_hidden_layers = 36;
  c.num_attention_heads = 32;
  c.num_key_value_heads = 8;
  c.head_dim = 128;
  c.vocab_size = 151936;
  return c;
}

TEST(StepFlops, AreThoseOfQwen3) {
  train::StepWork work;
  work.tokens = work.scored = 4 * 2048;
  work.document_squares = 4.0 * 2048 * 2048;
  const train::StepFlops f = train::step_flops(qwen3_4b(), Checkpointing::none, work);
  EXPECT_NEAR(f.forward / 1e12, 59.5 + 4.95 + 6.37, 0.1);
  EXPECT_NEAR(f.all() / 1e12, 215.0, 0.3);
  EXPECT_EQ(f.recompute, 0.0);
  // Gate and up: 49.81 million elements in each block. Everything but down: 76.02 million, and the attention.
  EXPECT_NEAR(train::step_flops(qwen3_4b(), Checkpointing::selective, work).recompute / 1e12, 29.4, 0.1);
  EXPECT_NEAR(train::step_flops(qwen3_4b(), Checkpointing::block, work).recompute / 1e12, 44.8 + 4.95, 0.1);
  work.scored_tiled = work.scored;
  EXPECT_NEAR(train::step_flops(qwen3_4b(), Checkpointing::none, work).recompute / 1e12, 6.37, 0.01);
}

cli::StepFigures figures() {
  cli::StepFigures f;
  f.report.step = 3;
  f.report.loss = 2.5;
  f.report.lr = 1e-4;
  f.report.norm = 0.75;
  f.report.tokens = 512;
  f.report.seconds = 2.0;
  f.report.flops = 3e12;
  f.steps = 8;
  f.peak_flops_per_second = 6e12;
  f.memory_bytes = std::int64_t{3} << 30;
  f.seconds_left = 3725;
  return f;
}

TEST(StepLog, TheLineAndTheMetricsSayTheSame) {
  cli::StepFigures f = figures();
  EXPECT_EQ(cli::step_line(f),
            "[train] step 3/8 loss 2.5000 lr 0.0001 norm 0.75 tok/s 256 roof 25 % mem 3.00 GiB left 1:02:05");
  std::map<std::string, double> values;
  for (const auto& [name, value] : cli::step_scalars(f)) values[name] = value;
  EXPECT_DOUBLE_EQ(values.at("train/loss"), 2.5);
  EXPECT_DOUBLE_EQ(values.at("train/lr"), 1e-4);
  EXPECT_DOUBLE_EQ(values.at("train/grad_norm"), 0.75);
  EXPECT_DOUBLE_EQ(values.at("train/tokens_per_second"), 256.0);
  EXPECT_DOUBLE_EQ(values.at("train/roofline_share"), 0.25);
  EXPECT_DOUBLE_EQ(values.at("train/memory_bytes"), 3.0 * (1 << 30));
  EXPECT_FALSE(values.contains("train/update_rms_largest"));
  f.peak_flops_per_second = 0.0;
  EXPECT_THAT(cli::step_line(f), Not(HasSubstr("roof")));
}

TEST(StepLog, ClippingIsSaid) {
  cli::StepFigures f = figures();
  f.report.clip_factor = 0.5;
  EXPECT_THAT(cli::step_line(f), HasSubstr("norm 0.75 (clipped) "));
  f.report.clip_factor = 1.0;
  f.report.update_rms = train::UpdateRms{4.25, "model.norm.weight", 2, 311};
  EXPECT_THAT(cli::step_line(f), HasSubstr("norm 0.75 rms 4.25 (2 of 311 clipped) "));
  std::map<std::string, double> values;
  for (const auto& [name, value] : cli::step_scalars(f)) values[name] = value;
  EXPECT_DOUBLE_EQ(values.at("train/update_rms_largest"), 4.25);
  EXPECT_DOUBLE_EQ(values.at("train/clipped_parameters"), 2.0);
}

TEST(Progress, FitsIntoALineAndIsDrawnOnATerminalAlone) {
  EXPECT_EQ(cli::progress_text(4, 8, "forward_done"),
            "[train] [###############...............] step 5/8 forward_done");
  EXPECT_THAT(cli::progress_text(8, 8, "x"), HasSubstr("step 8/8"));
  EXPECT_LT(cli::progress_text(123456789, 987654321, std::string(60, 'x')).size(), 80U);
  ::testing::internal::CaptureStderr();
  {
    cli::ProgressBar none(false);
    none.show(1, 8, "x");
    none.clear();
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  ::testing::internal::CaptureStderr();
  {
    cli::ProgressBar bar(true);
    bar.clear();
    bar.show(1, 8, "x");
  }
  const std::string drawn = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(drawn, ::testing::StartsWith("\r[train] ["));
  EXPECT_THAT(drawn, ::testing::EndsWith("\r\x1b[K")) << "nothing is left of it";
}

TEST(MemoryRoom, HoldsWhatTheLimitLeavesAndNamesBothNumbers) {
  const cli::MemoryRoom room{std::int64_t{3} << 30, std::int64_t{4} << 30, "the guard's limit"};
  EXPECT_TRUE(room.holds(std::int64_t{1} << 30));
  EXPECT_FALSE(room.holds((std::int64_t{1} << 30) + 1));
  EXPECT_EQ(room.shortage(std::int64_t{2} << 30),
            "needs about 2.00 GiB beside the 3.00 GiB in use, and the guard's limit is 4.00 GiB");
}

TEST(FinishSchedule, IsItsOwnFromItsFirstStepToItsLast) {
  train::TrainSettings s;
  s.schedule = {train::Decay::cosine, 1e-3, 100, 10, 0.1};
  s.finish_steps = 40;
  for (const std::int64_t step : {0, 59, 60, 99})
    EXPECT_DOUBLE_EQ(s.rate(step), train::learning_rate(s.schedule, step)) << "without a rate of its own";
  s.finish_learning_rate = 4e-3;
  EXPECT_DOUBLE_EQ(s.rate(59), train::learning_rate(s.schedule, 59));
  const train::ScheduleSettings own{train::Decay::cosine, 4e-3, 40, 5, 0.1};
  for (std::int64_t step = 60; step < 100; ++step)
    EXPECT_DOUBLE_EQ(s.rate(step), train::learning_rate(own, step - 60)) << step;
  EXPECT_DOUBLE_EQ(s.rate(65), 4e-3);
  EXPECT_NEAR(s.rate(99), 4e-4, 1e-5);
}

}  // namespace
}  // namespace tetrad
