// The trainer on a tiny model with a plain optimizer: what a step changes and what it must not, in both
// gradient modes.
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <limits>
#include <map>

#include "support/error_text.h"
#include "train/trainer/parameter_table.h"
#include "train/trainer/proof.h"
#include "trainer_rig.h"

namespace tetrad::train {
namespace {

TEST(Trainer, LossFallsAndEveryTensorMoves) {
  TrainerRig rig(plain_settings());
  const ChangeWatch watch(rig.tiny.transformer->parameters(), rig.states);
  EXPECT_EQ(watch.unchanged().size(), rig.tiny.transformer->parameters().size());
  const std::uint64_t version = rig.tiny.transformer->weight_version();
  const StepReport first = rig.trainer->step({id_batch(3)}, true);
  EXPECT_GT(first.norm, 0.0);
  EXPECT_EQ(first.tokens, 20);
  EXPECT_GT(rig.tiny.transformer->weight_version(), version) << "KV and eval caches would not notice";
  EXPECT_EQ(rig.trainer->proofs().size(), rig.tiny.transformer->parameters().size());
  EXPECT_TRUE(rig.trainer->unmoved().empty());
  EXPECT_TRUE(watch.unchanged().empty());
  double loss = first.loss;
  for (int i = 0; i < 10; ++i) loss = rig.trainer->step({id_batch(3)}, false).loss;
  EXPECT_LT(loss, 0.5 * first.loss);
  EXPECT_EQ(rig.trainer->progress().updates, 11);
}

TEST(Trainer, ImmediateIsTwoPhaseToTheBit) {
  for (const bool tied : {true, false}) {
    TrainerRig two(plain_settings(), tied), one(plain_settings(GradientMode::immediate), tied);
    for (int i = 0; i < 3; ++i) {
      const StepReport a = two.trainer->step({id_batch(i)}, false),
                       b = one.trainer->step({id_batch(i)}, false);
      EXPECT_EQ(a.loss, b.loss);
      EXPECT_NEAR(a.norm, b.norm, 1e-9);
    }
    expect_equal(two, one);
  }
}

TEST(Trainer, MicroBatchesAreOneBigBatch) {
  TrainSettings s = plain_settings();
  TrainerRig big(s);
  s.micro_batches = 2;
  TrainerRig small(s);
  Batch both = id_batch(1, 4);
  const auto half = [&](std::int64_t part) {
    Batch b = id_batch(0, 2);
    for (std::int64_t i = 0; i < 20; ++i) {
      b.ids[static_cast<std::size_t>(i)] = both.ids[static_cast<std::size_t>(20 * part + i)];
      b.targets[static_cast<std::size_t>(i)] = both.targets[static_cast<std::size_t>(20 * part + i)];
    }
    return b;
  };
  const StepReport a = big.trainer->step({both}, false), b = small.trainer->step({half(0), half(1)}, false);
  EXPECT_NEAR(a.loss, b.loss, 1e-6);
  EXPECT_NEAR(a.norm, b.norm, 1e-5 * a.norm);
  const auto x = big.weights(), y = small.weights();
  for (const auto& [name, w] : x) EXPECT_TRUE(at::allclose(w, y.at(name), 1e-5, 1e-6)) << name;
}

TEST(Trainer, BreadthFirstIsTheSumInFp32) {
  for (const GradientMode mode : {GradientMode::two_phase, GradientMode::immediate}) {
    for (const bool tied : {true, false}) {
      TrainSettings s = plain_settings(mode);
      s.micro_batches = 3;
      TrainerRig depth(s, tied);
      s.breadth_first = true;
      s.checkpointing = tied ? Checkpointing::block : Checkpointing::selective;
      TrainerRig breadth(s, tied);
      for (int i = 0; i < 3; ++i) {
        const std::vector<Batch> batches = {id_batch(i), id_batch(i + 7, 3), id_batch(i + 20, 1, 6)};
        const StepReport a = depth.trainer->step(batches, i == 0), b = breadth.trainer->step(batches, i == 0);
        EXPECT_NEAR(a.loss, b.loss, 1e-6);
        EXPECT_NEAR(a.norm, b.norm, 1e-5 * a.norm);
        EXPECT_EQ(b.tokens, 20 + 30 + 6);
        EXPECT_GT(b.flops, a.flops) << "what is computed again counts";
        EXPECT_EQ(breadth.trainer->activation_bytes(), 0);
        EXPECT_TRUE(breadth.trainer->unmoved().empty());
      }
      const auto x = depth.weights(), y = breadth.weights();
      for (const auto& [name, w] : x) {
        if (tied && name.find("embed") != std::string::npos)
          EXPECT_TRUE(at::allclose(w, y.at(name), 1e-5, 1e-6)) << name << ": its sum has another order";
        else if (!tied)
          EXPECT_TRUE(at::equal(w, y.at(name))) << name << ": the same sums in the same order";
        else
          EXPECT_TRUE(at::allclose(w, y.at(name), 1e-5, 1e-6)) << name;
      }
    }
  }
}

TEST(Trainer, BreadthFirstHoldsOneBlockOfSumsAtATime) {
  TrainSettings s = plain_settings(GradientMode::immediate);
  s.micro_batches = 2;
  const auto most_waiting = [&](bool breadth_first) {
    s.breadth_first = breadth_first;
    TrainerRig rig(s, false);
    std::int64_t most = 0;
    rig.tiny.linear.on_grad_weight = [&] { most = std::max(most, rig.trainer->gradient_bytes()); };
    rig.trainer->step({id_batch(1), id_batch(2)}, false);
    return most;
  };
  std::int64_t all = 0, largest = 0, block = 0;
  TrainerRig rig(s, false);
  for (const Parameter& p : rig.tiny.transformer->parameters()) {
    all += 4 * p.numel();
    largest = std::max(largest, 4 * p.numel());
    if (p.name.starts_with("model.layers.0.")) block += 4 * p.numel();
  }
  EXPECT_LE(most_waiting(true), std::max(largest, block));
  EXPECT_GT(most_waiting(false), all / 2);
}

TEST(Trainer, BreadthFirstStopsForALossThatIsNotFiniteBeforeAnythingIsUpdated) {
  TrainSettings s = plain_settings(GradientMode::immediate);
  s.micro_batches = 2;
  s.breadth_first = true;
  TrainerRig rig(s, false);
  rig.tiny.parameter("model.norm.weight").dense.fill_(std::numeric_limits<float>::quiet_NaN());
  ++rig.tiny.parameter("model.norm.weight").version;
  const std::string text = test::error_text([&] { rig.trainer->step({id_batch(3), id_batch(4)}, false); });
  EXPECT_NE(text.find("the loss is nan"), std::string::npos) << text;
  EXPECT_TRUE(rig.optimizer.order.empty());
  EXPECT_EQ(rig.trainer->activation_bytes(), 0);
}

TEST(Trainer, ClippingIsByTheExactNorm) {
  TrainSettings s = plain_settings(GradientMode::two_phase, Clip::global_norm);
  s.max_norm = 0.1;
  TrainerRig clipped(s), free(plain_settings());
  const auto before = free.weights();
  const StepReport a = clipped.trainer->step({id_batch(3)}, false),
                   b = free.trainer->step({id_batch(3)}, false);
  EXPECT_EQ(a.norm, b.norm);
  EXPECT_NEAR(a.clip_factor, 0.1 / a.norm, 1e-4 * a.clip_factor);
  EXPECT_EQ(b.clip_factor, 1.0);
  for (const auto& [name, w] : before) {
    const at::Tensor moved = clipped.weights().at(name).sub(w), whole = free.weights().at(name).sub(w);
    EXPECT_TRUE(at::allclose(moved, whole.mul(a.clip_factor), 1e-2, 1e-6)) << name;
  }
}

TEST(Trainer, PreviousNormClipsFromTheSecondStepOn) {
  TrainSettings s = plain_settings(GradientMode::immediate, Clip::previous_norm);
  s.max_norm = 0.01;
  TrainerRig rig(s);
  const StepReport first = rig.trainer->step({id_batch(3)}, false);
  EXPECT_EQ(first.clip_factor, 1.0);
  EXPECT_NEAR(rig.trainer->step({id_batch(4)}, false).clip_factor, 0.01 / first.norm, 1e-5);
}

TEST(Trainer, UpdateRmsClipsEachParameterForItselfInBothModes) {
  TrainerRig free(plain_settings());
  const auto before = free.weights();
  free.trainer->step({id_batch(3)}, false);
  std::map<std::string, double> rms;  // of each gradient, which is what the fake optimizer limits
  std::vector<double> sorted;
  for (const auto& [name, w] : before) {
    rms[name] = free.weights().at(name).sub(w).square().mean().sqrt().item<double>() / 0.05;
    sorted.push_back(rms[name]);
  }
  std::sort(sorted.begin(), sorted.end());
  const double limit = 0.5 * (sorted[sorted.size() / 2] + sorted[sorted.size() / 2 - 1]);
  TrainSettings s = plain_settings(GradientMode::immediate, Clip::update_rms);
  s.max_norm = limit;
  TrainerRig one(s);
  s.gradients = GradientMode::two_phase;
  TrainerRig two(s);
  const StepReport a = one.trainer->step({id_batch(3)}, false), b = two.trainer->step({id_batch(3)}, false);
  expect_equal(one, two);
  ASSERT_TRUE(a.update_rms && b.update_rms);
  EXPECT_EQ(a.clip_factor, 1.0) << "no factor is common to all parameters";
  EXPECT_EQ(a.update_rms->largest, b.update_rms->largest);
  EXPECT_EQ(a.update_rms->parameters, static_cast<std::int64_t>(before.size()));
  EXPECT_EQ(a.update_rms->clipped, static_cast<std::int64_t>(before.size() - before.size() / 2));
  EXPECT_NEAR(a.update_rms->largest, sorted.back(), 1e-2 * sorted.back());
  EXPECT_NEAR(rms.at(a.update_rms->where), sorted.back(), 1e-2 * sorted.back());
  for (const auto& [name, w] : before) {
    const at::Tensor whole = free.weights().at(name).sub(w), moved = one.weights().at(name).sub(w);
    EXPECT_TRUE(at::allclose(moved, whole.mul(std::min(1.0, limit / rms[name])), 1e-2, 1e-6)) << name;
  }
}

TEST(Trainer, AnOptimizerThatDoesNotKnowUpdateRmsIsNamed) {
  for (const GradientMode mode : {GradientMode::two_phase, GradientMode::immediate}) {
    TrainerRig rig(plain_settings(mode, Clip::update_rms));
    rig.optimizer.knows_update_rms = false;
    const std::string text = test::error_text([&] { rig.trainer->step({id_batch(3)}, false); });
    EXPECT_NE(text.find("update_rms"), std::string::npos) << text;
    EXPECT_NE(text.find("fake-optimizer"), std::string::npos) << text;
  }
}

void overflow(TrainerRig& rig) {
  rig.tiny.linear.poison = "model.layers.0.self_attn.k_proj.weight";
}

TEST(Trainer, ABadStepIsSkippedWholeAndNamed) {
  TrainSettings s = plain_settings();
  s.max_skipped = 2;
  TrainerRig rig(s);
  rig.trainer->step({id_batch(3)}, false);
  const auto before = rig.weights();
  const at::Tensor state = rig.optimizer.slots.front().m.clone();
  overflow(rig);
  const StepReport bad = rig.trainer->step({id_batch(3)}, false);
  ASSERT_TRUE(bad.skipped);
  EXPECT_NE(bad.skipped->find("k_proj"), std::string::npos) << *bad.skipped;
  for (const auto& [name, w] : before) EXPECT_TRUE(at::equal(w, rig.weights().at(name))) << name;
  EXPECT_TRUE(at::equal(state, rig.optimizer.slots.front().m));
  EXPECT_EQ(rig.trainer->progress().updates, 1);
  EXPECT_EQ(rig.trainer->progress().step, 2);
  const std::string text = test::error_text([&] { rig.trainer->step({id_batch(3)}, false); });
  EXPECT_NE(text.find("2 steps in a row"), std::string::npos) << text;
  rig.tiny.linear.poison.clear();
  EXPECT_FALSE(rig.trainer->step({id_batch(3)}, false).skipped) << "the trainer goes on afterwards";
}

TEST(Trainer, ATornStepEndsTheRunAndNamesTheParameter) {
  TrainerRig rig(plain_settings(GradientMode::immediate));
  overflow(rig);
  const std::string text = test::error_text([&] { rig.trainer->step({id_batch(3)}, false); });
  EXPECT_NE(text.find("k_proj"), std::string::npos) << text;
  EXPECT_NE(text.find("not saved"), std::string::npos) << text;
}

TEST(Trainer, ALossThatIsNotFiniteStopsBeforeTheBackwardAndNamesTheTensor) {
  for (const auto& [name, where] : {std::pair{"model.norm.weight", "the final norm or the head"},
                                    {"model.layers.1.mlp.up_proj.weight", "layer 1, tensor 'up_proj'"},
                                    {"model.layers.0.self_attn.v_proj.weight", "layer 0, tensor 'v_proj'"}}) {
    TrainerRig rig(plain_settings());
    rig.tiny.parameter(name).dense.view({-1})[0].fill_(std::numeric_limits<float>::quiet_NaN());
    ++rig.tiny.parameter(name).version;
    const std::string text = test::error_text([&] { rig.trainer->step({id_batch(3)}, false); });
    EXPECT_NE(text.find("the loss is nan"), std::string::npos) << text;
    EXPECT_NE(text.find(where), std::string::npos) << text;
    EXPECT_TRUE(rig.optimizer.order.empty());
    EXPECT_EQ(rig.trainer->activation_bytes(), 0);
  }
}

TEST(Trainer, FrozenParametersStayAndTheTableSaysSo) {
  TrainSettings s = plain_settings();
  s.freeze = {"*norm*"};
  TrainerRig rig(s);
  const auto before = rig.weights();
  rig.trainer->step({id_batch(3)}, true);
  for (const auto& [name, w] : before)
    EXPECT_EQ(at::equal(w, rig.weights().at(name)), name.find("norm") != std::string::npos) << name;
  const ParameterTable table(rig.tiny.transformer->parameters(), rig.states, s);
  EXPECT_NE(table.text().find("(frozen)"), std::string::npos);
  EXPECT_LT(table.totals().trained, table.totals().elements);
  EXPECT_EQ(table.json().at("parameters").size(), rig.tiny.transformer->parameters().size());
}

TEST(Trainer, MisspeltPatternsAreRefused) {
  TrainSettings s = plain_settings();
  s.freeze = {"*q_porj*"};
  EXPECT_NE(test::error_text([&] { TrainerRig rig(s); }).find("*q_porj*"), std::string::npos);
  s.freeze = {"*"};
  EXPECT_NE(test::error_text([&] { TrainerRig rig(s); }).find("leaves no parameter"), std::string::npos);
}

TEST(Trainer, AnOptimizerThatDoesNothingIsFound) {
  TrainerRig rig(plain_settings());
  const ChangeWatch watch(rig.tiny.transformer->parameters(), rig.states);
  rig.optimizer.ignore_gradients = true;
  rig.trainer->step({id_batch(3)}, true);
  EXPECT_EQ(watch.unchanged().size(), rig.tiny.transformer->parameters().size());
}

TEST(Trainer, EvaluationIsTheLossOfTheStep) {
  TrainerRig rig(plain_settings());
  const Trainer::Score score = rig.trainer->evaluate(id_batch(3));
  EXPECT_NEAR(rig.trainer->step({id_batch(3)}, false).loss, score.nll / static_cast<double>(score.tokens),
              1e-9);
}

}  // namespace
}  // namespace tetrad::train
