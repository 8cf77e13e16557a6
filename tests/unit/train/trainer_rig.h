// A tiny model, a plain optimizer and the trainer on top, for tests.
#pragma once

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "support/fake_optimizer.h"
#include "support/tiny_rig.h"
#include "train/trainer/trainer.h"

namespace tetrad::train {

// Rows of ids that follow from each other; each token is scored.
inline Batch id_batch(std::int64_t seed, std::int64_t rows = 2, std::int64_t width = 10) {
  Batch batch;
  batch.rows = rows;
  batch.width = width;
  std::int64_t id = seed;
  for (std::int64_t i = 0; i < rows * width; ++i) {
    id = (id * 37 + 11) % 250;
    batch.ids.push_back(id);
    batch.targets.push_back((id * 37 + 11) % 250);
    batch.positions.push_back(i % width);
    batch.documents.push_back(0);
  }
  batch.examples = rows;
  batch.tokens = batch.scored = rows * width;
  return batch;
}

inline TrainSettings plain_settings(GradientMode mode = GradientMode::two_phase, Clip clip = Clip::none) {
  TrainSettings s;
  s.schedule.decay = Decay::constant;
  s.schedule.learning_rate = 0.05;
  s.schedule.steps = 20;
  s.gradients = mode;
  s.clip = clip;
  return s;
}

struct TrainerRig {
  explicit TrainerRig(TrainSettings s, bool tied = true)
      : tiny(config(tied)), states(optimizer, "fake-optimizer", s) {
    for (Parameter& p : tiny.transformer->trainable()) states.prepare(p);
    states.require_patterns_used();
    trainer = std::make_unique<Trainer>(*tiny.transformer, states, s);
  }
  static nlohmann::json config(bool tied) {
    nlohmann::json c = test::tiny_config();
    c["tie_word_embeddings"] = tied;
    return c;
  }
  std::map<std::string, at::Tensor> weights() const {
    std::map<std::string, at::Tensor> all;
    for (const Parameter& p : tiny.transformer->parameters()) all[p.name] = p.dense.clone();
    return all;
  }
  test::TinyRig tiny;
  test::FakeOptimizer optimizer;
  OptimizerStates states;
  std::unique_ptr<Trainer> trainer;
};

inline void expect_equal(const TrainerRig& a, const TrainerRig& b) {
  const auto x = a.weights(), y = b.weights();
  for (const auto& [name, w] : x) EXPECT_TRUE(at::equal(w, y.at(name))) << name;
}

}  // namespace tetrad::train
