// Appends each turn to files, in the predecessor's two formats, so that what reads those goes on working:
//   text    "==== 2026-11-23 14:05:00 ====\n[user] hi\n[assistant] hello\n\n"
//   JSONL   {"ts":"2026-11-23 14:05:00","messages":[{"role":"user","text":"hi"}],"output":"hello"}
#pragma once

#include <optional>
#include <string>

namespace tetrad::cli {

class Tee {
 public:
  // Creates the files' folders and opens them for appending, so that a place that cannot be written to is
  // known before the model is loaded. Throws Error(usage).
  Tee(std::optional<std::string> text_file, std::optional<std::string> jsonl_file);

  // One write for each file. Throws Error naming the file when it cannot be written (a full disk).
  void append(const std::string& user, const std::string& output) const;

 private:
  std::optional<std::string> text_file_, jsonl_file_;
};

}  // namespace tetrad::cli
