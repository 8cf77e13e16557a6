#include "cli/engine/run_record.h"

#include "io/atomic_file.h"
#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <cstdio>
#include <filesystem>
#include <utility>

namespace tetrad::cli {
namespace {

// "> " before every line: what the person said stands out in the text form.
std::string quoted(std::string_view text) {
  std::string out = "> ";
  for (const char c : text) {
    out += c;
    if (c == '\n') out += "> ";
  }
  return out + "\n";
}

}  // namespace

RunRecord::RunRecord(const RunMessage& run) : folder_(run.run_dir.value_or("")) {
  record_["command"] = run.command;
  const bool talks = run.command == "chat" || run.command == "generate";
  if (!talks || run.args.value("raw", false) || !run.config.contains("chat")) return;
  const nlohmann::json& system = run.config.at("chat").value("system", nlohmann::json());
  if (system.is_string()) say("system", system.get<std::string>());
}

void RunRecord::set(const std::string& key, nlohmann::json value) {
  record_[key] = std::move(value);
}

void RunRecord::say(const char* role, std::string_view content, nlohmann::json more) {
  nlohmann::json line = {{"role", role}, {"content", text::lossy_utf8(content)}};
  line.update(more);
  transcript_lines_ += line.dump() + "\n";
}

void RunRecord::add_turn(std::string_view prompt, nlohmann::json turn) {
  const auto number = turns_.size() + 1;
  const auto answer = turn.at("text").get<std::string>();
  say("user", prompt, {{"turn", number}});
  say("assistant", answer,
      {{"turn", number},
       {"stop_reason", turn.at("stop_reason")},
       {"prompt_tokens", turn.at("prompt_ids").size()},
       {"output_tokens", turn.at("output_ids").size()},
       {"seq_len", turn.at("seq_len")}});
  transcript_text_ += quoted(prompt) + answer + "\n\n";
  turn["turn"] = number;
  turn["prompt"] = text::lossy_utf8(prompt);
  turns_.push_back(std::move(turn));
}

void RunRecord::add_command(std::string_view command) {
  say("command", command);
  transcript_text_ += "[" + std::string(command) + "]\n\n";
}

void RunRecord::write() const {
  if (folder_.empty()) return;
  const std::filesystem::path folder = folder_;
  nlohmann::json record = record_;
  record["turns"] = turns_;
  if (!transcript_lines_.empty()) io::write_file(folder / "transcript.jsonl", transcript_lines_);
  if (!transcript_text_.empty()) io::write_file(folder / "transcript.txt", transcript_text_);
  io::write_file(folder / "record.json",
                 record.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void RunRecord::save() {
  try {
    write();
  } catch (const Error& error) {
    if (!std::exchange(warned_, true)) {
      std::fprintf(stderr, "warning: the record of this run is behind: %s\n", error.what());
    }
  }
}

void RunRecord::finish() {
  write();
}

}  // namespace tetrad::cli
