// One thing that `host plugins check` looks at. A case runs in a process of its own, loads the plugin itself,
// and says what it found: it returns (pass), throws Failure (the plugin breaks its contract) or Skip (there
// is nothing to check here). Any other exception is a failure too.
#pragma once

#include <nlohmann/json.hpp>

#include <functional>
#include <stdexcept>
#include <string>

namespace tetrad::check {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Skip : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Result {
  std::string detail;                                 // what was measured, for people
  nlohmann::json figures = nlohmann::json::object();  // the same for programs
  std::string digest;                                 // of results that must be equal in two processes
};

struct Case {
  std::string name;  // "linear/forward/training/bfloat16"
  std::function<Result()> run;
  bool twice = false;  // runs in two processes, whose digests must agree
};

// Throws Failure.
inline void require(bool holds, const std::string& otherwise) {
  if (!holds) throw Failure(otherwise);
}

}  // namespace tetrad::check
