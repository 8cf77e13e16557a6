// The questions of train.self_test and train.self_test_files, answered by the model as it is now, through the
// same graph, KV policy and backend as a chat: greedy, each from an empty context. A question may come with a
// text that a right answer contains.
#pragma once

#include "cli/engine/session.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

namespace tetrad::cli {

class SelfTest {
 public:
  // Throws Error(usage) when expectations and prompts do not match in number, or for a file that is no TSV.
  explicit SelfTest(Session& session);

  bool empty() const noexcept { return questions_.empty(); }
  // Answers all questions, shows them on stderr under `when`, and returns
  // [{"group", "prompt", "answer", "expected", "right"}]; `right` is null where nothing is expected.
  // `between` is called after each answer, with an empty context.
  nlohmann::json run(const std::string& when, const std::function<void()>& between = {});

  // Whether an answer is right: it contains what is expected.
  static bool is_right(const std::string& answer, const std::string& expected);

  // Right answers by group, one line each for people: "[self_test] teach.tsv: 0 of 9 right before, 9 after".
  static std::string compared(const nlohmann::json& before, const nlohmann::json& after);
  // What is worse than it should be after training: expected answers of train.self_test that are wrong, and
  // files with fewer right answers than before. Empty when all is well.
  static std::vector<std::string> failures(const nlohmann::json& before, const nlohmann::json& after);

 private:
  struct Question {
    std::string group, prompt, expected;
  };
  void read(const std::string& file);

  Session& session_;
  std::vector<Question> questions_;
  generate::GenerationOptions options_;
};

}  // namespace tetrad::cli
