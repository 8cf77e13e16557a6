// Checkpoints whose every byte follows from their step, so that a test can tell a whole one from a mixture.
#pragma once

#include "train/checkpoint/store.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace tetrad::test {

inline std::vector<std::byte> bytes_of(std::int64_t step, std::size_t tensor, std::size_t size) {
  std::mt19937 random(static_cast<std::uint32_t>(step * 100 + static_cast<std::int64_t>(tensor)));
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

inline constexpr std::int64_t test_rows = 1000;

inline std::vector<io::TensorSpec> test_specs() {
  return {{"a.weight.codes", io::DType::u8, {test_rows, 8}},
          {"a.weight.scales", io::DType::f8_e4m3, {test_rows, 1}},
          {"a.weight.global_scale", io::DType::f32, {}},
          {"empty", io::DType::f32, {0, 3}},
          {"a.weight.v", io::DType::f32, {test_rows, 3}}};
}

inline train::CheckpointContent content_of(std::int64_t step) {
  train::CheckpointContent content;
  content.step = step;
  content.identity = {{"model", "tiny"}, {"optimizer", "none"}};
  content.state = {{"step", step}, {"seed", 7}, {"norm", 0.1 + static_cast<double>(step)}};
  const auto specs = test_specs();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    std::size_t size = io::dtype_size(specs[i].dtype);
    for (const std::int64_t extent : specs[i].shape) size *= static_cast<std::size_t>(extent);
    content.tensors.push_back({i < 3 ? "weights" : "optimizer", specs[i], [=](const train::ByteSink& sink) {
                                 const auto bytes = bytes_of(step, i, size);
                                 const std::span<const std::byte> all(bytes);
                                 sink(all.first(size / 3));
                                 sink(all.subspan(size / 3));
                               }});
  }
  return content;
}

// Whether a checkpoint is whole and all of it is of its step.
inline bool is_whole(const train::Checkpoint& checkpoint) {
  checkpoint.require_tensors(test_specs());
  checkpoint.verify();
  const auto specs = test_specs();
  bool same = checkpoint.state().at("norm") == 0.1 + static_cast<double>(checkpoint.step()) &&
              checkpoint.state().at("step") == checkpoint.step();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const auto bytes = checkpoint.tensor(specs[i].name);
    const auto expected = bytes_of(checkpoint.step(), i, bytes.size());
    same = same && std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end());
  }
  return same;
}

}  // namespace tetrad::test
