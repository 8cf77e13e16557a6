#include "train/data/dataset.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "sdk/base/printable.h"
#include "text/tokenizer.h"
#include "text/turn_format.h"
#include "text/utf8.h"
#include "train/data/encode.h"
#include "train/data/text_file.h"

namespace tetrad::train {
namespace {

const char* format_word(DataFormat format) {
  switch (format) {
    case DataFormat::tsv:
      return "tsv";
    case DataFormat::chat:
      return "chat";
    case DataFormat::text:
      return "text";
    case DataFormat::automatic:
      break;
  }
  return "auto";
}

DataFormat format_of(const DatasetSettings& settings) {
  if (settings.format != DataFormat::automatic) return settings.format;
  std::string ending = settings.file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  if (ending == ".tsv") return DataFormat::tsv;
  return ending == ".jsonl" ? DataFormat::chat : DataFormat::text;
}

}  // namespace

DataFormat parse_data_format(std::string_view word) {
  for (const DataFormat format : {DataFormat::automatic, DataFormat::tsv, DataFormat::chat, DataFormat::text})
    if (word == format_word(format)) return format;
  throw Error(ExitCode::usage,
              fmt::format("[data] format: '{}' is not known; there are auto, tsv, chat and text", word));
}

TooLong parse_too_long(std::string_view word) {
  if (word == "cut") return TooLong::cut;
  if (word == "skip") return TooLong::skip;
  if (word == "stop") return TooLong::stop;
  throw Error(ExitCode::usage,
              fmt::format("[data] too_long: '{}' is not known; there are cut, skip and stop", word));
}

nlohmann::json LoadReport::json() const {
  nlohmann::json left_out = nlohmann::json::array();
  for (const BadLine& bad : skipped) left_out.push_back({{"line", bad.line}, {"reason", bad.reason}});
  return {{"file", name},
          {"format", format_word(format)},
          {"sha256", sha256},
          {"lines", lines},
          {"comments", comments},
          {"examples", examples},
          {"positions", positions},
          {"scored", scored},
          {"longest", longest},
          {"cut", {{"examples", cut}, {"ids", cut_ids}, {"first_line", first_cut_line}}},
          {"skipped", left_out}};
}

std::string LoadReport::text() const {
  std::string result = fmt::format("[data] {}: {} examples, {} positions, {} scored, longest {}",
                                   printable(name), examples, positions, scored, longest);
  if (cut > 0)
    result += fmt::format("; {} cut to fit ({} ids lost, first at line {})", cut, cut_ids, first_cut_line);
  if (!skipped.empty()) {
    result += fmt::format("; {} left out (line {}: {}{})", skipped.size(), skipped.front().line,
                          skipped.front().reason, skipped.size() > 1 ? "; ..." : "");
  }
  return result;
}

Dataset Dataset::load(const DatasetSettings& settings, const text::TurnFormat& turns,
                      const text::Tokenizer& tokenizer) {
  return parse(read_data_file(settings.file), settings, turns, tokenizer);
}

Dataset Dataset::parse(std::string_view bytes, const DatasetSettings& settings, const text::TurnFormat& turns,
                       const text::Tokenizer& tokenizer) {
  const std::string name = settings.file.string();
  if (settings.width < 1)
    throw Error(ExitCode::usage,
                fmt::format("[data] a row of {} positions holds no example", settings.width));
  Dataset data;
  data.report_.name = name;
  data.report_.format = format_of(settings);
  data.report_.sha256 = sha256_hex(bytes);
  const std::string_view body = check_encoding(bytes, name);

  BadLines bad(printable(name), settings.on_bad_line);
  const auto add_conversation = [&](const Conversation& conversation) {
    const EncodedExample example =
        encode_conversation(conversation, turns, tokenizer, settings.learn_prompts);
    data.add(example.ids, example.learn, conversation.line, settings, bad);
  };
  if (data.report_.format == DataFormat::text) {
    data.add_windows(body, settings, tokenizer);
  } else if (data.report_.format == DataFormat::chat) {
    const ChatFile file = parse_chat_jsonl(body, bad);
    data.report_.lines = file.lines;
    for (const Conversation& conversation : file.conversations) add_conversation(conversation);
  } else {
    const TsvFile file = parse_tsv(body, bad);
    data.report_.lines = file.lines;
    data.report_.comments = file.comments;
    for (const PromptTarget& pair : file.pairs) {
      Conversation conversation;
      conversation.line = pair.line;
      if (!settings.system.empty()) conversation.system = settings.system;
      conversation.exchanges.push_back({std::string(pair.prompt), std::string(pair.target)});
      add_conversation(conversation);
    }
  }
  bad.settle();
  data.report_.skipped = bad.all();
  std::stable_sort(data.report_.skipped.begin(), data.report_.skipped.end(),
                   [](const BadLine& a, const BadLine& b) { return a.line < b.line; });
  data.report_.examples = static_cast<std::int64_t>(data.places_.size());
  if (data.places_.empty()) {
    throw Error(
        ExitCode::usage,
        fmt::format("[data] {}: there is no example in it{}", printable(name),
                    bad.all().empty() ? std::string()
                                      : fmt::format("; {} lines were left out, the first, line {}, "
                                                    "because {}",
                                                    bad.all().size(), data.report_.skipped.front().line,
                                                    data.report_.skipped.front().reason)));
  }
  const nlohmann::json facts = {{"bytes", data.report_.sha256},
                                {"format", format_word(data.report_.format)},
                                {"tokenizer", tokenizer.identity()},
                                {"on_bad_line", settings.on_bad_line == OnBadLine::skip},
                                {"too_long", static_cast<int>(settings.too_long)},
                                {"width", settings.width},
                                {"system", settings.system},
                                {"learn_prompts", settings.learn_prompts},
                                {"examples", data.report_.examples},
                                {"positions", data.report_.positions},
                                {"scored", data.report_.scored}};
  Sha256 digest;
  digest.update(facts.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  for (const std::int32_t id : data.ids_) {  // the chat template's part in it, byte order apart
    const auto bits = static_cast<std::uint32_t>(id);
    const unsigned char little[4] = {static_cast<unsigned char>(bits), static_cast<unsigned char>(bits >> 8),
                                     static_cast<unsigned char>(bits >> 16),
                                     static_cast<unsigned char>(bits >> 24)};
    digest.update(little, sizeof little);
  }
  data.identity_ = digest.hex_digest();
  return data;
}

ExampleView Dataset::example(std::size_t index) const {
  const Place& place = places_.at(index);
  return {std::span(ids_).subspan(place.first_id, place.ids),
          std::span(spans_).subspan(place.first_span, place.spans)};
}

void Dataset::add(std::span<const std::int32_t> ids, std::span<const Span> learn, std::int64_t line,
                  const DatasetSettings& settings, BadLines& bad) {
  const auto most = static_cast<std::size_t>(settings.width) + 1;  // the last id is a target only
  if (ids.size() > most) {
    const bool answer_left = learn.front().begin < static_cast<std::int32_t>(most);
    if (settings.too_long != TooLong::cut || !answer_left) {
      bad.add(line, fmt::format("it has {} positions, and a row has {}{}", ids.size() - 1, settings.width,
                                answer_left ? "" : ", which its prompt alone fills"));
      return;
    }
    ++report_.cut;
    report_.cut_ids += static_cast<std::int64_t>(ids.size() - most);
    if (report_.first_cut_line == 0) report_.first_cut_line = line;
    ids = ids.first(most);
  }
  Place place{ids_.size(), ids.size(), spans_.size(), 0};
  const auto count = static_cast<std::int32_t>(ids.size());
  for (const Span& span : learn) {
    if (span.begin >= count) break;
    spans_.push_back({span.begin, std::min(span.end, count)});
    report_.scored += spans_.back().end - spans_.back().begin;
    ++place.spans;
  }
  // A later turn's prompt that was cut inside teaches nothing any more.
  place.ids = static_cast<std::size_t>(spans_.back().end);
  ids_.insert(ids_.end(), ids.begin(), ids.begin() + spans_.back().end);
  const auto positions = static_cast<std::int64_t>(place.ids) - 1;
  report_.positions += positions;
  report_.longest = std::max(report_.longest, positions);
  places_.push_back(place);
}

void Dataset::add_windows(std::string_view text, const DatasetSettings& settings,
                          const text::Tokenizer& tokenizer) {
  const std::string plain = without_carriage_returns(text);
  const std::string name = printable(report_.name);
  if (const auto at = text::validate_utf8(plain)) {
    throw Error(
        ExitCode::usage,
        fmt::format("[data] {}: line {} is not valid UTF-8 (byte 0x{:02X})", name,
                    std::count(plain.begin(), plain.begin() + static_cast<std::ptrdiff_t>(*at), '\n') + 1,
                    static_cast<unsigned char>(plain[*at])));
  }
  report_.lines = std::count(plain.begin(), plain.end(), '\n') + (plain.ends_with('\n') ? 0 : 1);
  ids_ = encode_plain_text(plain, tokenizer);
  const auto width = static_cast<std::size_t>(settings.width);
  for (std::size_t begin = 0; begin + 1 < ids_.size(); begin += width) {
    // The windows overlap by one token, so that each token but the first is a target once.
    const std::size_t count = std::min(width + 1, ids_.size() - begin);
    places_.push_back({begin, count, spans_.size(), 1});
    spans_.push_back({1, static_cast<std::int32_t>(count)});
    report_.positions += static_cast<std::int64_t>(count - 1);
    report_.longest = std::max(report_.longest, static_cast<std::int64_t>(count - 1));
  }
  report_.scored = report_.positions;
}

}  // namespace tetrad::train
