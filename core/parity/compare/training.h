// Training parity: the losses of two training runs on the same data and seed, and what their first update did
// to each parameter. Relative error of an update: ||own - reference|| / ||reference||, over one tensor.
// Contract: reads updates.safetensors of both, as hostile as every other file.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tetrad::parity {

struct UpdateComparison {
  std::string name;
  std::int64_t elements = 0;
  double relative_error = 0;  // infinite where only the own update is not 0
  double cosine = 1;          // of the angle between the two updates; 1 where both are 0
  bool finite = true;
};

struct Updates {
  std::vector<UpdateComparison> tensors;  // by name
  std::vector<std::string> missing;       // in one of the files only
  double relative_error = 0, cosine = 1;  // over all of them together
};

Updates compare_updates(const std::filesystem::path& reference, const std::filesystem::path& own);

struct Losses {
  std::size_t steps = 0;      // that both runs have
  double first_relative = 0;  // |own - reference| / reference of step 1, before any update
  double max_relative = 0;    // the largest of all steps
  std::size_t max_step = 0;   // from 1
  bool finite = true;
  bool equal_length = true;
};

// Lists of numbers, as arm.json has them ("losses").
Losses compare_losses(const nlohmann::json& reference, const nlohmann::json& own);

}  // namespace tetrad::parity
