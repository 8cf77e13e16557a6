// One source of training examples, tokenised: a TSV of prompts and targets, a JSONL of chats, or a plain text
// cut into windows. Contract: immutable after loading; example i is the same ids and the same learned spans
// on every machine; what was left out or cut while loading is in report(), with line numbers.
#pragma once

#include "train/data/bad_lines.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::text {
class Tokenizer;
class TurnFormat;
}  // namespace tetrad::text

namespace tetrad::train {

// Positions [begin, end) of an example's ids that the model has to learn to produce; begin >= 1, since the
// first token follows nothing.
struct Span {
  std::int32_t begin = 0;
  std::int32_t end = 0;
  bool operator==(const Span&) const = default;
};

struct ExampleView {
  std::span<const std::int32_t> ids;  // n ids make n - 1 positions: the last is a target only
  std::span<const Span> learn;
};

enum class DataFormat { automatic, tsv, chat, text };
// "auto", "tsv", "chat", "text". Throws Error(usage) for another word.
DataFormat parse_data_format(std::string_view word);

// An example that has more positions than a row.
enum class TooLong {
  cut,   // its end is left out; what remains of the answer is learned, and the report says how often
  skip,  // left out
  stop,  // an Error
};
TooLong parse_too_long(std::string_view word);

struct DatasetSettings {
  std::filesystem::path file;
  DataFormat format = DataFormat::automatic;  // by the name's end: .tsv, .jsonl, else text
  OnBadLine on_bad_line = OnBadLine::stop;
  TooLong too_long = TooLong::cut;
  std::int64_t width = 1024;   // positions of a row: the longest example, and the length of a text window
  std::string system;          // TSV: system message of every example; empty for the template's own default
  bool learn_prompts = false;  // TSV, chat: score the whole conversation, not the answers alone
};

struct LoadReport {
  std::string name;  // the file as it was given
  DataFormat format = DataFormat::text;
  std::int64_t lines = 0;     // of the file; comments included
  std::int64_t comments = 0;  // TSV
  std::int64_t examples = 0;
  std::int64_t positions = 0;  // of all examples
  std::int64_t scored = 0;     // targets of all examples
  std::int64_t longest = 0;    // positions of the longest example
  std::int64_t cut = 0;        // examples that lost their end
  std::int64_t cut_ids = 0;    // token ids that were lost with it
  std::int64_t first_cut_line = 0;
  std::vector<BadLine> skipped;  // lines that were left out, with reasons
  std::string sha256;            // of the file's bytes

  nlohmann::json json() const;
  // One line for people, without newline: "[data] FILE: 24 examples, 812 positions, 190 scored, ...".
  std::string text() const;
};

class Dataset {
 public:
  // Reads and tokenises the file. Throws Error "[data] FILE: ..." for a file that cannot be read, another
  // encoding than UTF-8 (with the command that converts it), bad lines (unless they are skipped), and a file
  // without any example.
  static Dataset load(const DatasetSettings& settings, const text::TurnFormat& turns,
                      const text::Tokenizer& tokenizer);
  // The same from a file's bytes; `settings.file` stands in for the name.
  static Dataset parse(std::string_view bytes, const DatasetSettings& settings, const text::TurnFormat& turns,
                       const text::Tokenizer& tokenizer);

  std::size_t size() const noexcept { return places_.size(); }
  ExampleView example(std::size_t index) const;
  const LoadReport& report() const noexcept { return report_; }
  // Everything that decides what the examples are: file, tokenizer, settings. Two data sets of equal identity
  // give the same examples.
  const std::string& identity() const noexcept { return identity_; }

 private:
  struct Place {
    std::size_t first_id = 0;
    std::size_t ids = 0;
    std::size_t first_span = 0;
    std::size_t spans = 0;
  };

  void add(std::span<const std::int32_t> ids, std::span<const Span> learn, std::int64_t line,
           const DatasetSettings& settings, BadLines& bad);
  void add_windows(std::string_view text, const DatasetSettings& settings, const text::Tokenizer& tokenizer);

  std::vector<std::int32_t> ids_;
  std::vector<Span> spans_;
  std::vector<Place> places_;
  LoadReport report_;
  std::string identity_;
};

}  // namespace tetrad::train
