#include "train/data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "support/error_text.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"
#include "text/tokenizer.h"
#include "text/turn_format.h"
#include "train/data/encode.h"

namespace tetrad::train {
namespace {

using test::error_text;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Fixture {
  text::Tokenizer tokenizer = text::Tokenizer::parse(test::tiny_tokenizer(), "tokenizer.json");
  text::TurnFormat turns =
      text::TurnFormat::derive(text::ChatTemplate(test::chatml_template, "chat"), tokenizer);

  Dataset parse(std::string_view bytes, const DatasetSettings& settings) const {
    return Dataset::parse(bytes, settings, turns, tokenizer);
  }
  std::string decode(std::span<const std::int32_t> ids) const { return tokenizer.decode(ids); }
  // What the model has to learn, as text.
  std::string learned(const ExampleView& example) const {
    std::string result;
    for (const Span& span : example.learn)
      result += decode(example.ids.subspan(static_cast<std::size_t>(span.begin),
                                           static_cast<std::size_t>(span.end - span.begin)));
    return result;
  }
};

DatasetSettings tsv(std::int64_t width = 1000) {
  DatasetSettings settings;
  settings.file = "d.tsv";
  settings.width = width;
  return settings;
}

TEST(Dataset, TsvIsAChatTurn) {
  const Fixture f;
  const Dataset data = f.parse("\xEF\xBB\xBF# taught\r\nhello\tworld\r\nx\tI <|im_end|> go\r\n", tsv());
  ASSERT_EQ(data.size(), 2U);
  const std::string prompt = f.turns.first({}, "hello").text;
  EXPECT_EQ(f.decode(data.example(0).ids), prompt + "world<|im_end|>");
  EXPECT_EQ(f.learned(data.example(0)), "world<|im_end|>");
  EXPECT_EQ(data.example(0).ids.back(), test::tiny_im_end);
  // A special token that an answer spells is text: only the last one closes it.
  const auto ids = data.example(1).ids;
  const auto answer = data.example(1).learn.front();
  EXPECT_EQ(std::count(ids.begin() + answer.begin, ids.end(), test::tiny_im_end), 1);
  EXPECT_EQ(f.learned(data.example(1)), "I <|im_end|> go<|im_end|>");
  EXPECT_EQ(data.report().comments, 1);
  EXPECT_EQ(data.report().lines, 3);
  EXPECT_EQ(data.report().scored,
            answer.end - answer.begin + data.example(0).learn[0].end - data.example(0).learn[0].begin);
}

TEST(Dataset, SystemMessageAndWholeConversation) {
  const Fixture f;
  DatasetSettings settings = tsv();
  settings.system = "be brief";
  settings.learn_prompts = true;
  const Dataset data = f.parse("hello\tworld", settings);
  EXPECT_EQ(f.decode(data.example(0).ids), f.turns.first("be brief", "hello").text + "world<|im_end|>");
  EXPECT_THAT(data.example(0).learn,
              ElementsAre(Span{1, static_cast<std::int32_t>(data.example(0).ids.size())}));
}

TEST(Dataset, ChatIsTheTemplateOfTheWholeConversation) {
  const Fixture f;
  DatasetSettings settings = tsv();
  settings.file = "d.jsonl";
  const Dataset data = f.parse(
      R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"one"},)"
      R"({"role":"assistant","content":"two"},{"role":"user","content":"three"},{"role":"assistant","content":"four"}]})",
      settings);
  const text::ChatTemplate chat(test::chatml_template, "chat");
  const std::string whole = chat.render(
      {{"system", "s"}, {"user", "one"}, {"assistant", "two"}, {"user", "three"}, {"assistant", "four"}},
      false);
  EXPECT_EQ(f.decode(data.example(0).ids) + "\n", whole);
  const auto expected = f.tokenizer.encode(whole.substr(0, whole.size() - 1));
  EXPECT_TRUE(
      std::equal(expected.begin(), expected.end(), data.example(0).ids.begin(), data.example(0).ids.end()));
  EXPECT_EQ(f.learned(data.example(0)), "two<|im_end|>four<|im_end|>");
}

TEST(Dataset, LongExamples) {
  const Fixture f;
  const std::string text = "hello\t" + std::string(40, 'w') + "\nhi\tyes\n" + std::string(90, 'p') + "\tx\n";
  const Dataset whole = f.parse(text, tsv());
  const auto prompt = whole.example(0).learn[0].begin;
  const std::int64_t width = prompt + 9;  // ids 0 .. prompt + 9: ten of the answer's

  DatasetSettings settings = tsv(width);
  EXPECT_THAT(error_text([&] { f.parse(text, settings); }),
              AllOf(HasSubstr("line 3: it has "), HasSubstr("which its prompt alone fills"),
                    testing::Not(HasSubstr("line 1"))));
  settings.on_bad_line = OnBadLine::skip;
  const Dataset cut = f.parse(text, settings);
  ASSERT_EQ(cut.size(), 2U);
  EXPECT_EQ(f.learned(cut.example(0)), "wwwwwwwwww") << "cut answers are not closed";
  EXPECT_EQ(cut.report().cut, 1);
  EXPECT_EQ(cut.report().cut_ids, 31);
  EXPECT_EQ(cut.report().first_cut_line, 1);
  EXPECT_EQ(cut.report().longest, width);
  ASSERT_EQ(cut.report().skipped.size(), 1U);
  EXPECT_THAT(cut.report().text(), AllOf(HasSubstr("1 cut to fit (31 ids lost, first at line 1)"),
                                         HasSubstr("1 left out (line 3: it has")));
  EXPECT_EQ(cut.report().json().at("skipped").at(0).at("line"), 3);

  settings.too_long = TooLong::skip;
  EXPECT_EQ(f.parse(text, settings).size(), 1U);
  settings.on_bad_line = OnBadLine::stop;
  EXPECT_THAT(error_text([&] { f.parse(text, settings); }), HasSubstr("2 lines cannot be used"));
  // Exactly a row is not too long.
  settings.width = static_cast<std::int64_t>(whole.example(2).ids.size()) - 1;
  EXPECT_EQ(f.parse(text, settings).size(), 3U);
}

TEST(Dataset, ACutInsideALaterPromptEndsTheExampleBeforeIt) {
  const Fixture f;
  DatasetSettings settings = tsv();
  settings.file = "d.jsonl";
  const std::string line =
      R"({"messages":[{"role":"user","content":"one"},{"role":"assistant","content":"two"},)"
      R"({"role":"user","content":"three"},{"role":"assistant","content":"four"}]})";
  const auto first_answer = f.parse(line, settings).example(0).learn[0];
  settings.width = first_answer.end + 3;
  const Dataset data = f.parse(line, settings);
  EXPECT_EQ(data.example(0).ids.size(), static_cast<std::size_t>(first_answer.end));
  EXPECT_THAT(data.example(0).learn, ElementsAre(first_answer));
}

TEST(Dataset, TextWindowsScoreEachTokenButTheFirstOnce) {
  const Fixture f;
  std::string text;
  for (int i = 0; i < 57; ++i) text += "word " + std::to_string(i) + (i % 5 == 0 ? "\r\n" : " ");
  DatasetSettings settings = tsv(16);
  settings.file = "d.txt";
  const Dataset data = f.parse("\xEF\xBB\xBF" + text, settings);
  std::string plain = text;
  std::erase(plain, '\r');
  const auto ids = f.tokenizer.encode(plain);
  std::vector<std::int32_t> targets;
  for (std::size_t i = 0; i < data.size(); ++i) {
    const ExampleView example = data.example(i);
    EXPECT_LE(example.ids.size(), 17U);
    EXPECT_EQ(example.ids.front(), ids[i * 16]);
    EXPECT_THAT(example.learn, ElementsAre(Span{1, static_cast<std::int32_t>(example.ids.size())}));
    targets.insert(targets.end(), example.ids.begin() + 1, example.ids.end());
  }
  EXPECT_EQ(targets, std::vector<std::int32_t>(ids.begin() + 1, ids.end()));
  EXPECT_EQ(data.report().scored, static_cast<std::int64_t>(ids.size()) - 1);
  EXPECT_THAT(error_text([&] { f.parse("ab\nc\xFF", settings); }), HasSubstr("line 2 is not valid UTF-8"));
}

TEST(Dataset, PlainTextInPiecesIsThePlainText) {
  const Fixture f;
  std::string text;
  for (int i = 0; i < 400; ++i)
    text += std::string(static_cast<std::size_t>(i % 7), 'a') +
            (i % 11 == 0  ? ".\n\n"
             : i % 3 == 0 ? "\n"
                          : " ") +
            std::to_string(i * i);
  const auto whole = f.tokenizer.encode(text, false);
  for (const std::size_t piece : {1U, 7U, 64U, 500U})
    EXPECT_EQ(encode_plain_text(text, f.tokenizer, piece), whole) << piece;
}

TEST(Dataset, NothingToLearnIsAnError) {
  const Fixture f;
  DatasetSettings settings = tsv();
  EXPECT_THAT(error_text([&] { f.parse("", settings); }),
              HasSubstr("[data] d.tsv: there is no example in it"));
  EXPECT_THAT(error_text([&] { f.parse("# only a comment\n", settings); }), HasSubstr("no example"));
  settings.on_bad_line = OnBadLine::skip;
  EXPECT_THAT(error_text([&] { f.parse("a b\n\n", settings); }),
              HasSubstr("2 lines were left out, the first, line 1, because there is no tab"));
  settings.file = "d.txt";
  EXPECT_THAT(error_text([&] { f.parse("a", settings); }), HasSubstr("no example"));
  settings.width = 0;
  EXPECT_THAT(error_text([&] { f.parse("a", settings); }), HasSubstr("a row of 0 positions"));
}

TEST(Dataset, IdentityFollowsWhatTheExamplesAre) {
  const Fixture f;
  const std::string base = f.parse("a\tb\n", tsv()).identity();
  EXPECT_EQ(f.parse("a\tb\n", tsv()).identity(), base);
  EXPECT_NE(f.parse("a\tc\n", tsv()).identity(), base);
  DatasetSettings other = tsv();
  other.system = "s";
  EXPECT_NE(f.parse("a\tb\n", other).identity(), base);
  const text::TurnFormat turns = text::TurnFormat::derive(
      text::ChatTemplate(std::string(test::chatml_template) + "{# #}", "chat"), f.tokenizer);
  EXPECT_EQ(Dataset::parse("a\tb\n", tsv(), turns, f.tokenizer).identity(), base);
}

TEST(Dataset, WordsOfTheSettings) {
  EXPECT_EQ(parse_data_format("chat"), DataFormat::chat);
  EXPECT_EQ(parse_too_long("stop"), TooLong::stop);
  EXPECT_EQ(parse_on_bad_line("skip"), OnBadLine::skip);
  for (const auto& call :
       {+[] { parse_data_format("csv"); }, +[] { parse_too_long("csv"); }, +[] { parse_on_bad_line("csv"); }})
    EXPECT_THAT(error_text(call), HasSubstr("'csv' is not known; there are"));
}

}  // namespace
}  // namespace tetrad::train
