#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "support/error_text.h"
#include "train/data/chat_jsonl.h"
#include "train/data/tsv.h"

namespace tetrad::train {
namespace {

using test::error_text;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Tsv, PairsCommentsAndBadLines) {
  BadLines bad("d.tsv", OnBadLine::skip);
  const TsvFile file = parse_tsv(
      "# a comment\twith a tab\r\n"
      "who are you\tI am Tetrad.\r\n"
      "\n"
      "no tab here\n"
      "\tno prompt\n"
      "no target\t \n"
      "a\tb\tc\n"
      " leading\ttrailing \n"
      "bad \xFF\ttext\n"
      "last\t# not a comment",
      bad);
  ASSERT_EQ(file.pairs.size(), 3U);
  EXPECT_EQ(file.lines, 10);
  EXPECT_EQ(file.comments, 1);
  EXPECT_EQ(file.pairs[0].line, 2);
  EXPECT_EQ(file.pairs[0].prompt, "who are you");
  EXPECT_EQ(file.pairs[0].target, "I am Tetrad.");
  EXPECT_EQ(file.pairs[1].prompt, " leading");
  EXPECT_EQ(file.pairs[1].target, "trailing ");
  EXPECT_EQ(file.pairs[2].target, "# not a comment");
  const std::vector<BadLine> expected = {
      {3, "it is empty"},
      {4, "there is no tab between prompt and target (spaces do not count)"},
      {5, "the prompt, before the tab, is empty"},
      {6, "the target, after the tab, is empty"},
      {7,
       "there are 2 tabs, and a line has one; use a JSONL file of messages for texts with tabs or line "
       "breaks"},
      {9, "byte 5 (0xFF) is not UTF-8"}};
  EXPECT_EQ(bad.all(), expected);
}

TEST(BadLines, StopListsThemAndSaysWhatToDo) {
  BadLines bad("d.tsv", OnBadLine::stop);
  bad.settle();
  for (int i = 1; i <= 23; ++i) bad.add(i, "reason " + std::to_string(i));
  EXPECT_THAT(error_text([&] { bad.settle(); }),
              AllOf(HasSubstr("[data] d.tsv: 23 lines cannot be used:\n  line 1: reason 1\n"),
                    HasSubstr("line 20: reason 20\n  and 3 more\n"), HasSubstr("on_bad_line: skip"),
                    Not(HasSubstr("reason 21"))));
  BadLines skipped("d.tsv", OnBadLine::skip);
  skipped.add(1, "x");
  skipped.settle();
}

std::string reason(const std::string& line) {
  BadLines bad("d.jsonl", OnBadLine::skip);
  const ChatFile file = parse_chat_jsonl(line, bad);
  EXPECT_EQ(file.conversations.empty(), !bad.all().empty());
  return bad.all().empty() ? "fine" : bad.all().front().reason;
}

TEST(ChatJsonl, Conversations) {
  BadLines bad("d.jsonl", OnBadLine::stop);
  const ChatFile file = parse_chat_jsonl(
      R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "id": 7})"
      "\r\n"
      R"({"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "a\n\tb"},)"
      R"({"role": "assistant", "content": "b", "tool_calls": [], "name": null}, {"role": "user", "content": "c"},)"
      R"({"role": "assistant", "content": "d"}]})",
      bad);
  bad.settle();
  ASSERT_EQ(file.conversations.size(), 2U);
  EXPECT_FALSE(file.conversations[0].system);
  EXPECT_EQ(file.conversations[1].line, 2);
  EXPECT_EQ(file.conversations[1].system, "");
  ASSERT_EQ(file.conversations[1].exchanges.size(), 2U);
  EXPECT_EQ(file.conversations[1].exchanges[0].user, "a\n\tb");
  EXPECT_EQ(file.conversations[1].exchanges[1].assistant, "d");
}

TEST(ChatJsonl, ReasonsOfBadLines) {
  const std::string user = R"({"role": "user", "content": "a"})",
                    answer = R"({"role": "assistant", "content": "b"})";
  const auto messages = [](const std::string& list) { return R"({"messages": [)" + list + "]}"; };
  EXPECT_EQ(reason(messages(user + "," + answer)), "fine");
  EXPECT_EQ(reason(" \n"), "it is empty");
  EXPECT_THAT(reason(messages(user + "," + answer) + "x"), HasSubstr("column"));
  EXPECT_THAT(reason(R"({"messages": [], "messages": []})"), HasSubstr("duplicate key 'messages'"));
  EXPECT_EQ(reason("[1]"), "it is not a JSON object {\"messages\": [...]}");
  EXPECT_EQ(reason("{}"), "there is no \"messages\"");
  EXPECT_EQ(reason(messages("")), "\"messages\" is not a list with messages in it");
  EXPECT_EQ(reason(messages("1")), "messages[0] is not an object");
  EXPECT_EQ(reason(messages(user)), "the last message is the user's, so there is no answer to learn");
  EXPECT_EQ(reason(messages(answer)), "messages[0] is the assistant's, but it is the user's turn");
  EXPECT_EQ(reason(messages(user + "," + user)), "messages[1] is the user's, but it is the assistant's turn");
  EXPECT_EQ(reason(messages(R"({"role": "system", "content": "s"})")), "there is no user message");
  EXPECT_EQ(reason(messages(user + "," + answer + R"(,{"role": "system", "content": "s"})")),
            "messages[2] is a system message; only the first may be");
  EXPECT_EQ(reason(messages(R"({"role": "tool", "content": "s"})")),
            "messages[0] has the role 'tool'; known are system, user and assistant");
  EXPECT_EQ(reason(messages(R"({"role": "user"})")), "messages[0] has no 'content'");
  EXPECT_EQ(reason(messages(R"({"role": "user", "content": [1]})")),
            "messages[0].content is array, and must be a text");
  EXPECT_EQ(reason(messages(R"({"role": "user", "content": "\n "})")), "messages[0].content is empty");
  EXPECT_EQ(reason(messages(R"({"role": "user", "content": "a", "tool_calls": [1]})")),
            "messages[0] has 'tool_calls', which training does not know; a message has role and content");
  EXPECT_EQ(reason(messages(R"({"role": "user", "content": "a", "weight": 0})")).substr(0, 24),
            "messages[0] has 'weight'");
}

}  // namespace
}  // namespace tetrad::train
