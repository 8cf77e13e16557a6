// What core/train reads and writes, for the oracle tests in Python.
//   train_probe data MODEL_DIR WIDTH FILE   -> JSON {"report", "examples": [{"ids", "learn": [[begin,
//   end]]}]} train_probe metrics FOLDER FIRST_STEP END_STEP     writes loss = 1 / (step + 1) for the steps
//   between train_probe checkpoint FOLDER STEP                 saves one small checkpoint
#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

#include "support/tiny_model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/turn_format.h"
#include "train/data/dataset.h"
#include "train/metrics/metrics.h"
#include "unit/train_data/checkpoint_content.h"

namespace {

using namespace tetrad;

void print_data(const std::string& model, std::int64_t width, const std::string& file) {
  const auto tokenizer = text::Tokenizer::load(model);
  const auto turns = text::TurnFormat::derive(text::ChatTemplate::load(model), tokenizer);
  train::DatasetSettings settings;
  settings.file = file;
  settings.width = width;
  const auto data = train::Dataset::load(settings, turns, tokenizer);
  nlohmann::json examples = nlohmann::json::array();
  for (std::size_t i = 0; i < data.size(); ++i) {
    const auto example = data.example(i);
    nlohmann::json learn = nlohmann::json::array();
    for (const auto& span : example.learn) learn.push_back({span.begin, span.end});
    examples.push_back({{"ids", example.ids}, {"learn", learn}});
  }
  std::cout << nlohmann::json{{"report", data.report().json()}, {"examples", examples}}.dump() << "\n";
}

void write_metrics(const std::string& folder, std::int64_t first, std::int64_t end) {
  train::MetricsLog log({.folder = folder, .first_step = first});
  for (std::int64_t step = first; step < end; ++step)
    log.write(step, {{"train/loss", 1.0 / static_cast<double>(step + 1)}, {"train/learning_rate", 1e-4}});
  log.write_text(end - 1, "self_test", "who are you -> Tetrad \xE5\x9B\x9B");
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  try {
    if (arguments.size() == 4 && arguments[0] == "data") {
      print_data(arguments[1], std::stoll(arguments[2]), arguments[3]);
    } else if (arguments.size() == 4 && arguments[0] == "metrics") {
      write_metrics(arguments[1], std::stoll(arguments[2]), std::stoll(arguments[3]));
    } else if (arguments.size() == 3 && arguments[0] == "checkpoint") {
      train::CheckpointStore({.folder = arguments[1]}).save(test::content_of(std::stoll(arguments[2])));
    } else if (arguments.size() == 2 && arguments[0] == "tiny-model") {
      test::write_tiny_model(arguments[1]);
    } else {
      std::cerr << "usage: see train_probe.cpp\n";
      return 2;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
