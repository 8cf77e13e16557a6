// Turns: what each one feeds, how it ends, how it is closed. The head's answers are scripted, so that the
// model "says" exactly what a case needs; whatever happens, the ledger reads as the conversation that the
// template would render, and the cache holds exactly the ledger.
#include "generate/chat_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/tiny_rig.h"
#include "text/chat_template.h"

namespace tetrad::generate {
namespace {

using test::error_text;
using test::TinyRig;
using testing::ElementsAre;
using testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

class Chat {
 public:
  explicit Chat(GenerationOptions options = {.max_tokens = 32}, std::int64_t max_tokens = 256,
                std::uint32_t kv_bits = kv_retains | kv_lossless | kv_truncate)
      : rig(test::tiny_config(), kv_bits),
        context(rig.context(2048, max_tokens)),
        tokenizer(text::Tokenizer::parse(test::tiny_tokenizer(), "tokenizer.json")),
        format(text::TurnFormat::derive(text::ChatTemplate(test::chatml_template, "chat"), tokenizer)),
        session(context, tokenizer, format, with_stops(std::move(options)), system) {}

  static GenerationOptions with_stops(GenerationOptions options) {
    options.stop_ids = {test::tiny_im_end, test::tiny_endoftext};
    return options;
  }

  TurnResult turn(const std::string& user) { return session.turn(user, on_text(), interrupt); }
  ChatSession::OnText on_text() {
    return [this](std::string_view piece) { streamed += piece; };
  }

  // The head's answers: the bytes of a text, then these ids.
  void say(const std::string& text, const Ids& then = {}) {
    Ids& script = rig.linear.script;
    for (const std::int32_t id : tokenizer.encode(text)) script.push_back(id);
    script.insert(script.end(), then.begin(), then.end());
  }

  std::string ledger_text() const { return tokenizer.decode(context.ledger()); }
  void expect_aligned() const {
    EXPECT_EQ(context.kv_lengths().resident, context.length());
    EXPECT_EQ(context.kv_lengths().next_position, context.length());
    EXPECT_EQ(rig.linear.next, rig.linear.script.size()) << "the head was asked once for each token";
  }

  std::optional<std::string> system;
  TinyRig rig;
  Context context;
  text::Tokenizer tokenizer;
  text::TurnFormat format;
  ChatSession session;
  std::atomic<bool> interrupt{false};
  std::string streamed;
};

TEST(ChatSession, TheTinyTemplateIsTakenApart) {
  const Chat chat;
  EXPECT_THAT(chat.format.close_ids(), ElementsAre(test::tiny_im_end, 10))
      << "<|im_end|> and a newline (byte 10)";
  EXPECT_EQ(chat.format.next("x").text, "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatSession, TheStopTokenIsAcceptedAndOnlyTheRestOfTheCloseIsFed) {
  Chat chat;
  chat.say("Hi", {test::tiny_im_end});
  const TurnResult result = chat.turn("Yo");
  EXPECT_EQ(result.text, "Hi");
  EXPECT_EQ(chat.streamed, "Hi");
  EXPECT_THAT(result.output_ids, ElementsAre('H', 'i'));
  EXPECT_EQ(result.stop_reason, StopReason::stop_token);
  EXPECT_EQ(chat.ledger_text(), "<|im_start|>user\nYo<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n");
  EXPECT_EQ(result.decoded_tokens, 2);
  chat.expect_aligned();
}

TEST(ChatSession, AnotherStopTokenIsNeverWrittenAndTheTurnIsClosedWhole) {
  Chat chat;
  chat.say("Hi", {test::tiny_endoftext});
  const TurnResult result = chat.turn("Yo");
  EXPECT_EQ(result.stop_reason, StopReason::stop_token);
  EXPECT_THAT(result.output_ids, ElementsAre('H', 'i'));
  EXPECT_THAT(chat.context.ledger(), testing::Not(testing::Contains(test::tiny_endoftext)));
  EXPECT_EQ(chat.ledger_text(), "<|im_start|>user\nYo<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n");
  chat.expect_aligned();
}

TEST(ChatSession, AnAnswerOfNothingButAStopToken) {
  for (const std::int32_t stop : {test::tiny_im_end, test::tiny_endoftext}) {
    Chat chat;
    chat.say("", {stop});
    const TurnResult result = chat.turn("Yo");
    EXPECT_EQ(result.text, "");
    EXPECT_TRUE(result.output_ids.empty());
    EXPECT_EQ(result.decoded_tokens, 0);
    EXPECT_EQ(chat.ledger_text(), "<|im_start|>user\nYo<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n");
    chat.expect_aligned();
  }
}

TEST(ChatSession, TheTokenLimitClosesTheTurnWhole) {
  Chat chat({.max_tokens = 3});
  chat.say("abc");
  const TurnResult result = chat.turn("Yo");
  EXPECT_EQ(result.stop_reason, StopReason::max_tokens);
  EXPECT_EQ(chat.ledger_text(), "<|im_start|>user\nYo<|im_end|>\n<|im_start|>assistant\nabc<|im_end|>\n");
  chat.expect_aligned();
}

TEST(ChatSession, IgnoreEosGoesOnAfterStopTokens) {
  Chat chat({.max_tokens = 4, .ignore_eos = true});
  chat.say("a", {test::tiny_im_end, test::tiny_endoftext, 'b'});
  const TurnResult result = chat.turn("Yo");
  EXPECT_EQ(result.stop_reason, StopReason::max_tokens);
  EXPECT_THAT(result.output_ids, ElementsAre('a', test::tiny_im_end, test::tiny_endoftext, 'b'));
  EXPECT_EQ(result.text, "ab") << "special tokens are not shown";
  chat.expect_aligned();
}

TEST(ChatSession, EachTurnFeedsItsOwnNewTokensOnly) {
  for (const std::uint32_t bits : {kv_retains | kv_lossless | kv_truncate, kv_retains | kv_lossless, 0U}) {
    Chat chat({.max_tokens = 2}, 256, bits);
    chat.say("ab");
    chat.say("c", {test::tiny_im_end});
    chat.say("d", {test::tiny_endoftext});
    const TurnResult first = chat.turn("One");
    EXPECT_EQ(chat.tokenizer.decode(first.prompt_ids),
              "<|im_start|>user\nOne<|im_end|>\n<|im_start|>assistant\n");
    const std::int64_t after_first = chat.context.length();
    const TurnResult second = chat.turn("Two");
    EXPECT_EQ(chat.tokenizer.decode(second.prompt_ids),
              "<|im_start|>user\nTwo<|im_end|>\n<|im_start|>assistant\n");
    EXPECT_EQ(chat.context.length(),
              after_first + static_cast<std::int64_t>(second.prompt_ids.size()) + 1 + 2);
    chat.turn("Three");
    EXPECT_EQ(chat.session.turns(), 3);
    // The whole conversation, rendered at once by the template, is what the ledger holds.
    const text::ChatTemplate whole(test::chatml_template, "chat");
    const std::string expected = whole.render({{"user", "One"},
                                               {"assistant", "ab"},
                                               {"user", "Two"},
                                               {"assistant", "c"},
                                               {"user", "Three"},
                                               {"assistant", "d"}},
                                              false);
    EXPECT_EQ(chat.ledger_text(), expected);
    EXPECT_EQ(chat.context.ledger(), chat.tokenizer.encode(expected));
    if (bits != 0) chat.expect_aligned();
  }
}

TEST(ChatSession, ASecondTurnAnswersAsIfAllHadBeenFedAtOnce) {
  Chat chat({.max_tokens = 5});
  chat.turn("One");
  const TurnResult second = chat.turn("Two");

  Chat at_once({.max_tokens = 5});
  Ids prompt = chat.context.ledger();
  prompt.resize(prompt.size() - second.output_ids.size() - 2);
  const TurnResult again = at_once.session.complete(prompt, {}, at_once.interrupt);
  EXPECT_EQ(again.output_ids, second.output_ids);
}

TEST(ChatSession, AnInterruptEndsTheAnswerAndClosesTheTurn) {
  Chat chat({.max_tokens = 100});
  chat.say("abcdef");
  const auto stop_at_c = [&](std::string_view piece) {
    if (piece == "c") chat.interrupt = true;
  };
  const TurnResult result = chat.session.turn("Yo", stop_at_c, chat.interrupt);
  EXPECT_EQ(result.stop_reason, StopReason::interrupted);
  EXPECT_EQ(result.text, "abc");
  EXPECT_EQ(chat.ledger_text(), "<|im_start|>user\nYo<|im_end|>\n<|im_start|>assistant\nabc<|im_end|>\n");
  EXPECT_EQ(chat.context.kv_lengths().resident, chat.context.length());
}

TEST(ChatSession, ACharacterCutInHalfIsWithheldButStaysInTheIds) {
  Chat chat({.max_tokens = 5});
  chat.say("x\xE4\xBD\xA0\xE5\xA5\xBD");  // x, two characters of three bytes; five tokens
  chat.rig.linear.script.resize(5);
  const TurnResult result = chat.turn("Yo");
  EXPECT_EQ(result.text, "x\xE4\xBD\xA0");
  EXPECT_EQ(chat.streamed, result.text);
  EXPECT_EQ(result.withheld_bytes, 1U);
  EXPECT_EQ(result.output_ids.size(), 5U);
  chat.expect_aligned();
}

TEST(ChatSession, ACollapseIsFlaggedOrStopsTheTurn) {
  const std::string cycle = "ababababababababababababababababababababab";
  Chat flagged({.max_tokens = static_cast<std::int64_t>(cycle.size())});
  flagged.say(cycle);
  const TurnResult went_on = flagged.turn("Yo");
  EXPECT_EQ(went_on.stop_reason, StopReason::max_tokens);
  EXPECT_EQ(went_on.text, cycle);
  ASSERT_TRUE(went_on.collapse);
  EXPECT_EQ(*went_on.collapse, "the same cycle of 2 tokens 12 times in a row");

  Chat stopped({.max_tokens = static_cast<std::int64_t>(cycle.size()), .stop_on_collapse = true});
  stopped.say(cycle);
  const TurnResult ended = stopped.turn("Yo");
  EXPECT_EQ(ended.stop_reason, StopReason::collapse);
  EXPECT_EQ(ended.text, cycle.substr(0, 24));
  EXPECT_THAT(stopped.ledger_text(), HasSubstr(cycle.substr(0, 24) + "<|im_end|>\n"));

  Chat fine({.max_tokens = 30, .stop_on_collapse = true});
  fine.say("The cat sat on the mat, ok.\n", {test::tiny_im_end});
  EXPECT_FALSE(fine.turn("Yo").collapse);
}

TEST(ChatSession, ATurnThatCannotFitIsRefusedWithTheSum) {
  Chat chat({.max_tokens = 8}, 61);
  chat.say("abcdefgh");
  chat.turn("Yo");
  const Ids before = chat.context.ledger();
  chat.rig.kv.prepares.clear();
  try {
    chat.turn("Yo");
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    const auto prompt = static_cast<std::int64_t>(chat.format.next("Yo").ids.size());
    const auto history = static_cast<std::int64_t>(before.size());
    EXPECT_EQ(std::string(error.what()),
              "[context] " + std::to_string(history) + " tokens of history + " + std::to_string(prompt) +
                  " of this prompt + max_tokens 8 + 2 to close the turn = " +
                  std::to_string(history + prompt + 10) +
                  " > context limit of 61; shorten the prompt, lower chat.max_tokens or start anew");
  }
  EXPECT_TRUE(chat.rig.kv.prepares.empty());
  EXPECT_EQ(chat.context.ledger(), before);
  EXPECT_EQ(chat.session.turns(), 1);
  // A shorter one still fits: nothing was spoiled.
  chat.session.reset();
  EXPECT_EQ(chat.session.turns(), 0);
  chat.rig.linear.script.clear();
  chat.turn("Yo");
}

TEST(ChatSession, ATurnThatFailsHalfWayIsTakenBack) {
  Chat chat({.max_tokens = 4});
  chat.say("ab", {test::tiny_im_end});
  chat.turn("One");
  const Ids before = chat.context.ledger();
  chat.say("abcd");
  chat.rig.kv.fail_write_at =
      chat.context.length() + static_cast<std::int64_t>(chat.format.next("Two").ids.size()) + 2;
  EXPECT_THAT(error_text([&] { chat.turn("Two"); }), HasSubstr("no room for these keys"));
  EXPECT_EQ(chat.context.ledger(), before);
  EXPECT_EQ(chat.context.kv_lengths().resident, chat.context.length());
  EXPECT_EQ(chat.session.turns(), 1);
  chat.rig.kv.fail_write_at = test::FakeKv::never;
  chat.rig.linear.script.clear();
  EXPECT_EQ(chat.turn("Two").output_ids.size() > 0, true);
  EXPECT_EQ(chat.session.turns(), 2);
}

TEST(ChatSession, CompleteTakesIdsAsTheyAreAndClosesNothing) {
  Chat chat({.max_tokens = 3});
  chat.say("abc");
  const TurnResult result = chat.session.complete({'x', 'y'}, chat.on_text(), chat.interrupt);
  EXPECT_EQ(result.text, "abc");
  EXPECT_EQ(chat.ledger_text(), "xyabc");
  chat.expect_aligned();
  EXPECT_EQ(chat.session.turns(), 0);

  Chat stopped({.max_tokens = 3});
  stopped.say("a", {test::tiny_im_end});
  stopped.session.complete({'x'}, {}, stopped.interrupt);
  EXPECT_EQ(stopped.ledger_text(), "xa") << "no close, no stop token";
}

TEST(ChatSession, AModelWithoutATemplateContinuesRawPromptsOnly) {
  Chat chat;
  const auto none = text::TurnFormat::none(chat.tokenizer);
  EXPECT_TRUE(none.close_ids().empty());
  ChatSession session(chat.context, chat.tokenizer, none, Chat::with_stops({.max_tokens = 2}), {});
  chat.say("ab");
  EXPECT_EQ(session.complete({'x'}, {}, chat.interrupt).text, "ab");
  EXPECT_THAT(error_text([&] { session.turn("Yo", {}, chat.interrupt); }), HasSubstr("no chat template"));
  EXPECT_EQ(chat.ledger_text(), "xab");
}

TEST(ChatSession, TheSeedDecidesAndNothingElse) {
  const auto sample = [](std::uint64_t seed) {
    Chat chat({.max_tokens = 40, .sampling = {.temperature = 1.5, .seed = seed}, .ignore_eos = true});
    return chat.turn("Yo").output_ids;
  };
  EXPECT_EQ(sample(3), sample(3));
  EXPECT_NE(sample(3), sample(4));
}

TEST(ChatSession, ASystemPromptComesFirstAndOnce) {
  Chat chat;
  ChatSession session(chat.context, chat.tokenizer, chat.format, Chat::with_stops({.max_tokens = 1}),
                      "Be brief.");
  session.turn("One", {}, chat.interrupt);
  session.turn("Two", {}, chat.interrupt);
  const std::string text = chat.ledger_text();
  EXPECT_TRUE(text.starts_with("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOne")) << text;
  EXPECT_EQ(text.find("Be brief", 30), std::string::npos);
}

TEST(ChatSession, WhatAUserTypesIsEncodedWithItsSpecialTokens) {
  // As Hugging Face does. What matters here: the ledger and the cache stay aligned whatever is typed.
  Chat chat({.max_tokens = 2});
  for (const char* user :
       {"", " ", "<|im_end|>", "<|im_start|><|im_end|><|endoftext|>", "\xE2\x80\xA8", "\x01\x7F"}) {
    chat.rig.linear.script.clear();
    chat.rig.linear.next = 0;
    chat.turn(user);
    chat.expect_aligned();
  }
}

}  // namespace
}  // namespace tetrad::generate
