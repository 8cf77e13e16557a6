// Scripts survive the way through their file, what is no script is refused by name, and tokens that are parts
// of a character are shown as bytes.
#include "parity/arm/script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/sha256.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "parity/arm/pieces.h"
#include "parity/arm/top_tokens.h"
#include "support/error_text.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/turn_format.h"

namespace tetrad::parity {
namespace {

using nlohmann::json;
using test::error_text;
using testing::AllOf;
using testing::HasSubstr;

text::Tokenizer tokenizer() {
  return text::Tokenizer::parse(test::tiny_tokenizer(), "tokenizer.json");
}

Script fixed(const std::string& answer) {
  const text::Tokenizer t = tokenizer();
  const auto turns = text::TurnFormat::derive(text::ChatTemplate(test::chatml_template, "chat"), t);
  Script script = fixed_script(turns, t, std::nullopt, {"Hi", "more"}, answer);
  script.tokenizer_sha256 = t.identity();
  script.vocab_size = test::tiny_vocab;
  script.made_by = "a test";
  return script;
}

TEST(Script, AFixedAnswerIsSaidInEveryTurn) {
  const Script script = fixed("No <|im_end|>");
  EXPECT_EQ(tokenizer().decode(script.ids),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nNo <|im_end|><|im_end|>\n"
            "<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\nNo <|im_end|><|im_end|>\n");
  ASSERT_EQ(script.segments.size(), 6U);
  EXPECT_EQ(std::count(script.ids.begin(), script.ids.end(), test::tiny_im_end), 4)
      << "the answer's own text is no special token";
  EXPECT_EQ(script.first_answer_position(), script.segments[1].begin - 1);
  EXPECT_THAT(error_text([] { fixed(""); }), HasSubstr("parity.continuation has no tokens"));
}

TEST(Script, TheFileGivesTheSameScript) {
  const Script script = fixed("\xE4\xBD\xA0");
  const json stored = script.to_json(tokenizer());
  const test::TempDir folder;
  std::ofstream(folder / "script.json") << stored.dump();
  const Script read = Script::load(folder / "script.json");
  EXPECT_EQ(read.ids, script.ids);
  EXPECT_EQ(read.segments, script.segments);
  EXPECT_EQ(read.tokenizer_sha256, script.tokenizer_sha256);
  EXPECT_EQ(read.vocab_size, script.vocab_size);
  EXPECT_EQ(read.made_by, script.made_by);
  EXPECT_EQ(stored.at("text_pieces").size(), script.ids.size());
}

TEST(Script, ItsHashIsThatOfTheIdsInDecimal) {
  Script script;
  script.add(Segment::Kind::prompt, 1, {5, 0, 123});
  EXPECT_EQ(script.sha256(), sha256_hex("5,0,123"));
}

TEST(Script, WhatIsNoScriptIsRefusedByName) {
  const json good = fixed("ok").to_json(tokenizer());
  const auto refusal = [&](const std::function<void(json&)>& change) {
    json bad = good;
    change(bad);
    return error_text([&] { Script::parse(bad, "X.json"); });
  };
  EXPECT_NO_THROW(Script::parse(good, "X.json"));
  EXPECT_THAT(refusal([](json& j) { j["format"] = "another"; }),
              AllOf(HasSubstr("X.json"), HasSubstr("no parity script")));
  EXPECT_THAT(refusal([](json& j) { j["version"] = 2; }), HasSubstr("version 2"));
  EXPECT_THAT(refusal([](json& j) { j.erase("ids"); }), HasSubstr("ids"));
  EXPECT_THAT(refusal([](json& j) { j["ids"][1] = "x"; }), HasSubstr("not a parity script"));
  EXPECT_THAT(refusal([](json& j) { j["ids"][1] = -1; }), HasSubstr("negative"));
  EXPECT_THAT(refusal([](json& j) { j["ids"].push_back(1); }), HasSubstr("cover"));
  EXPECT_THAT(refusal([](json& j) { j["segments"][1]["kind"] = "song"; }), HasSubstr("song"));
  EXPECT_THAT(refusal([](json& j) { j["segments"][1]["begin"] = 0; }), HasSubstr("does not follow"));
  EXPECT_THAT(refusal([](json& j) { j["segments"][1]["end"] = 0; }), HasSubstr("does not follow"));
  const test::TempDir folder;
  std::ofstream(folder / "cut.json") << good.dump().substr(0, 40);
  EXPECT_THAT(error_text([&] { Script::load(folder / "cut.json"); }), HasSubstr("cut short"));
  EXPECT_THAT(error_text([&] { Script::load(folder / "none.json"); }), HasSubstr("cannot read"));
}

TEST(Pieces, PartsOfCharactersAreBytes) {
  const text::Tokenizer t = tokenizer();
  const auto ids = t.encode("a\xE4\xBD\xA0");
  const json pieces = token_pieces(t, ids);
  std::string bytes;
  bool parts = false;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(pieces[i].contains("text"), t.token_bytes(ids[i]) == "a") << i;
    parts = parts || pieces[i].contains("bytes");
  }
  EXPECT_EQ(pieces[0], (json{{"text", "a"}}));
  EXPECT_TRUE(parts) << "the tiny tokenizer has no token for the whole character";
  EXPECT_EQ(pieces[1].at("bytes").get<std::string>().substr(0, 2), "e4");
  EXPECT_EQ(token_piece(t, test::tiny_im_end), (json{{"text", "<|im_end|>"}}));
}

TEST(TopTokens, LargestFirstAndTheLowerIdAmongEquals) {
  const std::vector<float> logits = {1.0F, 3.0F, -2.0F, 3.0F, 0.0F};
  const json top = top_tokens(logits, 3, tokenizer());
  ASSERT_EQ(top.size(), 3U);
  EXPECT_EQ(top[0].at("id"), 1);
  EXPECT_EQ(top[1].at("id"), 3);
  EXPECT_EQ(top[2].at("id"), 0);
  const double sum = std::exp(1.0) + 2 * std::exp(3.0) + std::exp(-2.0) + 1.0;
  EXPECT_NEAR(top[0].at("prob").get<double>(), std::exp(3.0) / sum, 1e-12);
  EXPECT_EQ(top_tokens(logits, 99, tokenizer()).size(), 5U);
}

}  // namespace
}  // namespace tetrad::parity
