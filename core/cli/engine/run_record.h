// What the engine leaves in the run's folder, complete at any moment: record.json (figures), and for
// conversations transcript.jsonl and transcript.txt. Each file is replaced whole after every turn, so that a
// run that is killed leaves everything up to its last finished turn, and nothing half-written. A disk that
// fills up in the middle of a conversation is said once and does not end it; finish() is strict.
#pragma once

#include "cli/protocol/messages.h"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace tetrad::cli {

class RunRecord {
 public:
  // Without run.run_dir nothing is ever written.
  explicit RunRecord(const RunMessage& run);

  void set(const std::string& key, nlohmann::json value);

  // A turn of a conversation: what was asked, and turn_record() of the answer.
  void add_turn(std::string_view prompt, nlohmann::json turn);

  // Something that changed the conversation between two turns: "/reset", "/undo", "/load file".
  void add_command(std::string_view command);

  // Writes what there is so far; a failure is a warning on stderr, once.
  void save();

  // The same at the end of a run. Throws Error when the files cannot be written.
  void finish();

 private:
  void write() const;
  void say(const char* role, std::string_view content, nlohmann::json more = nlohmann::json::object());

  std::string folder_;  // empty: nothing is kept
  nlohmann::json record_;
  nlohmann::json turns_ = nlohmann::json::array();
  std::string transcript_lines_;  // JSONL
  std::string transcript_text_;
  bool warned_ = false;
};

}  // namespace tetrad::cli
