#include "cli/engine/self_test.h"

#include "text/utf8.h"
#include "train/data/text_file.h"
#include "train/data/tsv.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <utility>

namespace tetrad::cli {
namespace {

constexpr const char* kOwn = "train.self_test";

struct Count {
  std::size_t right = 0, asked = 0;
};

std::map<std::string, Count> count_right(const nlohmann::json& results) {
  std::map<std::string, Count> counts;
  if (!results.is_array()) return counts;
  for (const nlohmann::json& result : results) {
    if (!result.at("right").is_boolean()) continue;
    Count& count = counts[result.at("group").get<std::string>()];
    ++count.asked;
    if (result.at("right").get<bool>()) ++count.right;
  }
  return counts;
}

}  // namespace

SelfTest::SelfTest(Session& session) : session_(session) {
  const nlohmann::json& train = session.config().at("train");
  const auto prompts = train.at("self_test").get<std::vector<std::string>>();
  const auto expected = train.at("self_test_expect").get<std::vector<std::string>>();
  if (!expected.empty() && expected.size() != prompts.size())
    throw Error(ExitCode::usage,
                fmt::format("[train] train.self_test_expect has {} entries for {} prompts in train.self_test",
                            expected.size(), prompts.size()));
  for (std::size_t i = 0; i < prompts.size(); ++i)
    questions_.push_back({kOwn, prompts[i], expected.empty() ? std::string() : expected[i]});
  for (const std::string& file : train.at("self_test_files").get<std::vector<std::string>>()) read(file);
  options_ = session.generation_options();
  options_.max_tokens = train.at("self_test_tokens").get<std::int64_t>();
  options_.sampling = {};
  options_.sampling.temperature = 0.0;
  options_.stop_on_collapse = false;
}

void SelfTest::read(const std::string& file) {
  const std::string bytes = train::read_data_file(file);
  train::BadLines bad(file, train::OnBadLine::stop);
  const train::TsvFile tsv = train::parse_tsv(train::check_encoding(bytes, file), bad);
  bad.settle();
  const std::string group = std::filesystem::path(file).filename().string();
  for (const train::PromptTarget& pair : tsv.pairs)
    questions_.push_back({group, std::string(pair.prompt), std::string(pair.target)});
}

bool SelfTest::is_right(const std::string& answer, const std::string& expected) {
  return answer.find(expected) != std::string::npos;
}

nlohmann::json SelfTest::run(const std::string& when, const std::function<void()>& between) {
  nlohmann::json results = nlohmann::json::array();
  for (const Question& question : questions_) {
    session_.context().reset();
    generate::ChatSession chat = session_.new_chat(options_);
    const generate::TurnResult turn = chat.turn(question.prompt, {}, session_.control().interrupt());
    const std::string answer = text::lossy_utf8(turn.text);
    nlohmann::json result = {{"group", question.group},
                             {"prompt", question.prompt},
                             {"answer", answer},
                             {"expected", nullptr},
                             {"right", nullptr}};
    const bool right = is_right(answer, question.expected);
    if (!question.expected.empty()) {
      result["expected"] = question.expected;
      result["right"] = right;
    }
    std::fprintf(stderr, "[self_test] %s: %s\n[self_test]   %s%s\n", when.c_str(), question.prompt.c_str(),
                 question.expected.empty() ? ""
                 : right                   ? "(right) "
                                           : "(wrong) ",
                 answer.c_str());
    results.push_back(std::move(result));
    session_.context().reset();
    if (between) between();
  }
  // What the answers needed is not kept while training goes on.
  session_.clear_eval_cache();
  return results;
}

std::string SelfTest::compared(const nlohmann::json& before, const nlohmann::json& after) {
  std::map<std::string, Count> was = count_right(before);
  std::string text;
  for (const auto& [group, count] : count_right(after))
    text += was.contains(group)
                ? fmt::format("[self_test] {}: {} of {} right before, {} after\n", group, was[group].right,
                              count.asked, count.right)
                : fmt::format("[self_test] {}: {} of {} right after\n", group, count.right, count.asked);
  return text;
}

std::vector<std::string> SelfTest::failures(const nlohmann::json& before, const nlohmann::json& after) {
  std::map<std::string, Count> was = count_right(before);
  std::vector<std::string> failures;
  for (const auto& [group, count] : count_right(after)) {
    if (group == kOwn && count.right < count.asked)
      failures.push_back(
          fmt::format("{} of {} expected answers are wrong", count.asked - count.right, count.asked));
    else if (group != kOwn && was.contains(group) && count.right < was[group].right)
      failures.push_back(fmt::format("{}: {} right answers before training, {} after", group,
                                     was[group].right, count.right));
  }
  return failures;
}

}  // namespace tetrad::cli
