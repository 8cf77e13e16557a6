// Asking the engine a question that it answers with one phase message (`doctor`, `why`), under a deadline.
// Its output goes nowhere but into the answer; an engine that is missing, dies, lies or hangs gives a problem
// in words.
#pragma once

#include "cli/protocol/messages.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace tetrad::cli {

struct EngineAnswer {
  std::optional<nlohmann::json> details;  // of the phase named like the command
  std::string problem;                    // when there are none
};

class EngineQuestion {
 public:
  // Starts the engine at once. An engine that cannot be started shows in the answer.
  EngineQuestion(const std::string& engine, const RunMessage& run);
  ~EngineQuestion();
  EngineQuestion(const EngineQuestion&) = delete;
  EngineQuestion& operator=(const EngineQuestion&) = delete;

  EngineAnswer collect(std::int64_t deadline_ns);

 private:
  struct State;
  State* state_;
};

}  // namespace tetrad::cli
