#include "cli/engine/training_data.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cstdio>
#include <memory>
#include <utility>

namespace tetrad::cli {
namespace {

train::DatasetSettings dataset_settings(const nlohmann::json& section, const std::string& file,
                                        std::int64_t width) {
  train::DatasetSettings settings;
  settings.file = file;
  settings.on_bad_line = train::parse_on_bad_line(section.at("on_bad_line").get<std::string>());
  settings.too_long = train::parse_too_long(section.at("too_long").get<std::string>());
  settings.width = width;
  if (section.at("system").is_string()) settings.system = section.at("system").get<std::string>();
  settings.learn_prompts = section.at("learn_prompts").get<bool>();
  return settings;
}

}  // namespace

TrainingData::TrainingData(const nlohmann::json& section, std::int64_t longest, const text::TurnFormat& turns,
                           const text::Tokenizer& tokenizer) {
  const auto width = section.at("width").get<std::int64_t>();
  if (width > longest)
    throw Error(ExitCode::usage,
                fmt::format("[train] train.width {} is more than the {} positions that the model "
                            "was made for",
                            width, longest));
  const auto files = section.at("data").get<std::vector<std::string>>();
  const auto weights = section.at("data_weights").get<std::vector<double>>();
  if (files.empty()) throw Error(ExitCode::usage, "[train] train.data names no file to learn from");
  if (!weights.empty() && weights.size() != files.size())
    throw Error(ExitCode::usage,
                fmt::format("[train] train.data_weights has {} entries for {} files in train.data",
                            weights.size(), files.size()));
  std::vector<train::DataSource> sources;
  const auto load = [&](const std::string& file) {
    auto data = std::make_shared<const train::Dataset>(
        train::Dataset::load(dataset_settings(section, file, width), turns, tokenizer));
    std::fprintf(stderr, "%s\n", data->report().text().c_str());
    reports_.push_back(data->report());
    return data;
  };
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto data = load(files[i]);
    const double weight = weights.empty() ? static_cast<double>(data->size()) : weights[i];
    sources.push_back({std::move(data), weight});
  }
  train::LoaderSettings settings;
  settings.rows = section.at("rows").get<std::int64_t>();
  settings.width = width;
  settings.pack = section.at("pack").get<bool>();
  settings.seed = static_cast<std::uint64_t>(section.at("seed").get<std::int64_t>());
  loader_.emplace(std::move(sources), settings);
  if (!section.at("eval_data").is_string()) return;
  settings.passes = train::Passes::one;
  settings.shuffle = false;
  evaluation_.emplace(std::vector<train::DataSource>{{load(section.at("eval_data").get<std::string>()), 1.0}},
                      settings);
}

std::vector<train::Batch> TrainingData::step_batches(std::int64_t count) {
  std::vector<train::Batch> batches;
  for (std::int64_t i = 0; i < count; ++i) {
    std::optional<train::Batch> batch = loader_->next();
    if (!batch) throw Error("[train] the data ended");
    batches.push_back(std::move(*batch));
  }
  return batches;
}

nlohmann::json TrainingData::report() const {
  nlohmann::json files = nlohmann::json::array();
  for (const train::LoadReport& report : reports_) files.push_back(report.json());
  return {{"files", files}, {"mixture", loader_->mixture()}};
}

}  // namespace tetrad::cli
