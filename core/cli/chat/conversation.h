// What a chat can be told to do, as the loop that reads the turns sees it. The engine has one over a model;
// tests have one without.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace tetrad::cli {

class Conversation {
 public:
  virtual ~Conversation() = default;

  // One turn; the answer goes to stdout as it comes. Returns the exit code that it asks for (0: go on).
  virtual int turn(const std::string& user) = 0;
  // Takes the last turn back; its user message, nothing when there is no turn.
  virtual std::optional<std::string> undo() = 0;
  virtual void reset() = 0;
  virtual std::string stats() = 0;         // lines
  virtual std::int64_t clear_cache() = 0;  // bytes freed
  virtual std::optional<std::string> system() const = 0;
  virtual void set_system(const std::string& text) = 0;   // begins anew
  virtual std::string save(const std::string& file) = 0;  // what was done, one line
  virtual std::string load(const std::string& file) = 0;
};

}  // namespace tetrad::cli
