// Save, restore and go on: the bits of a run that was never interrupted; and checkpoints that do not belong.
#include <ATen/Functions.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <filesystem>
#include <fstream>

#include "support/error_text.h"
#include "support/temp_dir.h"
#include "train/trainer/run_state.h"
#include "trainer_rig.h"

namespace tetrad::train {
namespace {

std::filesystem::path save(TrainerRig& rig, const std::filesystem::path& folder) {
  CheckpointStore store({folder, 2, {}});
  const auto& parameters = rig.tiny.transformer->parameters();
  return store.save(checkpoint_content(parameters, rig.states, run_identity(parameters, rig.states, "data 1"),
                                       {rig.trainer->progress(), {{"drawn", 7}}, {{"steps", 20}}}));
}

RunState restore(TrainerRig& rig, const std::filesystem::path& folder, const std::string& data = "data 1") {
  auto& parameters = rig.tiny.transformer->trainable();
  const RunState state = restore_run(Checkpoint::open(folder), parameters, rig.states,
                                     run_identity(parameters, rig.states, data));
  rig.trainer->resume(state.progress);
  return state;
}

TEST(RunState, GoingOnIsTheSameAsNotStopping) {
  const test::TempDir folder;
  TrainerRig whole(plain_settings(GradientMode::immediate, Clip::previous_norm));
  for (int i = 0; i < 6; ++i) whole.trainer->step({id_batch(i)}, false);

  TrainerRig first(plain_settings(GradientMode::immediate, Clip::previous_norm));
  for (int i = 0; i < 3; ++i) first.trainer->step({id_batch(i)}, false);
  const auto saved = save(first, folder.path());

  TrainerRig second(plain_settings(GradientMode::immediate, Clip::previous_norm));
  second.trainer->step({id_batch(9)}, false);  // whatever it was before is gone afterwards
  const std::uint64_t version = second.tiny.transformer->weight_version();
  const RunState state = restore(second, saved);
  EXPECT_GT(second.tiny.transformer->weight_version(), version) << "caches made before would look fresh";
  EXPECT_EQ(state.cursor.at("drawn"), 7);
  EXPECT_EQ(state.progress.step, 3);
  for (int i = 3; i < 6; ++i) second.trainer->step({id_batch(i)}, false);
  expect_equal(whole, second);
  EXPECT_EQ(whole.trainer->progress().previous_norm, second.trainer->progress().previous_norm);
  EXPECT_EQ(whole.trainer->progress().tokens, second.trainer->progress().tokens);
}

TEST(RunState, AnotherRunsCheckpointIsRefusedAndNothingChanges) {
  const test::TempDir folder;
  TrainerRig tied(plain_settings(), true), untied(plain_settings(), false);
  tied.trainer->step({id_batch(1)}, false);
  const auto saved = save(tied, folder.path());
  const auto before = untied.weights();
  EXPECT_NE(test::error_text([&] { restore(untied, saved); }).find("parameters"), std::string::npos);
  for (const auto& [name, w] : before) EXPECT_TRUE(at::equal(w, untied.weights().at(name))) << name;
  EXPECT_NE(test::error_text([&] { restore(tied, saved, "data 2"); }).find("data"), std::string::npos);
}

TEST(RunState, ADamagedCheckpointChangesNothing) {
  const test::TempDir folder;
  TrainerRig rig(plain_settings());
  rig.trainer->step({id_batch(1)}, false);
  const auto saved = save(rig, folder.path());
  rig.trainer->step({id_batch(2)}, false);
  const auto before = rig.weights();
  const at::Tensor state = rig.optimizer.slots.back().m.clone();
  {
    std::fstream file(saved / "optimizer.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-5, std::ios::end);
    file.put('\x5A');
  }
  EXPECT_NE(test::error_text([&] { restore(rig, saved); }), "no error");
  for (const auto& [name, w] : before) EXPECT_TRUE(at::equal(w, rig.weights().at(name))) << name;
  EXPECT_TRUE(at::equal(state, rig.optimizer.slots.back().m));
}

}  // namespace
}  // namespace tetrad::train
