// Sentences, words, terminal and CSV.
#include "parity/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

#include "parity/report/sentences.h"
#include "parity/report/width.h"
#include "rich_report.h"

namespace tetrad::parity {
namespace {

using nlohmann::json;
using test::hostile;
using test::random_matrix;
using test::rich_report;
using test::SyntheticFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> lines(const std::string& text, const std::string& end = "\n") {
  std::vector<std::string> result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = text.find(end, at);
    result.push_back(text.substr(at, next - at));
    at = next == text.npos ? text.size() : next + end.size();
  }
  return result;
}

std::size_t places(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += c == '{' ? 1 : 0;
  return count;
}

TEST(Words, BothLanguagesHaveEveryTextWithTheSamePlaces) {
  std::set<std::string_view> keys;
  for (std::size_t i = 0; i < word_count(); ++i) {
    const std::string_view key = word_key(i);
    EXPECT_TRUE(keys.insert(key).second) << key << " twice";
    const auto en = word(Language::english, key);
    const auto zh = word(Language::traditional_chinese, key);
    EXPECT_FALSE(en.empty()) << key;
    EXPECT_FALSE(zh.empty()) << key;
    EXPECT_EQ(places(en), places(zh)) << key;
    // Terms of other regions.
    for (const char* foreign :
         {"內存", "权重", "权", "缓存", "緩存", "默認", "程序", "文件夾", "數據", "運行", "支持"}) {
      EXPECT_EQ(zh.find(foreign), zh.npos) << key << " " << foreign;
    }
  }
  EXPECT_THROW(word(Language::english, "no such text"), std::out_of_range);
}

TEST(Sentences, OneArmEqual) {
  SyntheticFolder folder;
  folder.add_arm("training");
  folder.add_arm("bridge");
  for (std::size_t arm : {0U, 1U}) folder.logits(arm, random_matrix(5, 7, 1));
  const json report = make_report(folder.write());
  EXPECT_THAT(sentences(report, Language::english),
              ElementsAre("Equal: all 1 arm(s) give the reference's logits to the bit, over 5 positions.",
                          "Different: nothing.", "That is allowed: every arm stays within its tolerance."));
  EXPECT_EQ(report["sentences"]["en"], json(sentences(report, Language::english)));
  EXPECT_EQ(report["sentences"]["zh-TW"], json(sentences(report, Language::traditional_chinese)));
}

TEST(Sentences, FirstOtherTokenAndWhetherItIsAllowed) {
  SyntheticFolder folder;
  folder.add_arm("training");
  folder.add_arm("bridge");
  test::Matrix a{5, 7, std::vector<float>(35, 0.0F)};
  for (std::int64_t r = 0; r < 5; ++r) a.at(r, 4) = 9;
  folder.logits(0, a);
  a.at(2, 6) = 10;
  folder.logits(1, a);
  const std::vector<std::string> s = sentences(make_report(folder.write()), Language::english);
  EXPECT_EQ(s[0],
            "Equal: on the same 5 tokens, 'bridge' chooses the reference's next token at 4 of 5 positions.");
  EXPECT_EQ(s[1],
            "Different: the first other token is at position 2 (turn 1, answer), where the reference chooses "
            "\"a\" #4 "
            "and 'bridge' chooses \"b\" #6.");
  EXPECT_THAT(s[2], HasSubstr("That is not allowed: 'bridge', largest KL at position 2: "));
}

TEST(Sentences, NotComparable) {
  SyntheticFolder folder;
  folder.add_arm("training");
  folder.add_arm("bridge", json::array({{{"key", "model.dtype"}, {"a", 1}, {"b", 2}, {"swept", false}}}));
  for (std::size_t arm : {0U, 1U}) folder.logits(arm, random_matrix(5, 7, 1));
  const json report = make_report(folder.write());
  EXPECT_EQ(
      sentences(report, Language::english)[2],
      "Whether that is allowed cannot be said: 'bridge', it differs in more than the comparison is about: "
      "model.dtype.");
  EXPECT_EQ(sentences(report, Language::traditional_chinese)[2],
            "無法判斷是否容許：「bridge」，除了要比較的項目，還有其他設定不同：model.dtype。");
}

TEST(Terminal, EveryWidthHolds) {
  const json report = rich_report();
  for (const Language language : {Language::english, Language::traditional_chinese}) {
    for (const int width : {1, 40, 60, 80, 100, 200}) {
      const std::string text = terminal_report(report, language, width, false);
      for (const std::string& line : lines(text)) {
        EXPECT_LE(columns_of(line), std::max(40, width)) << line;
        EXPECT_EQ(line.find('\x1b'), line.npos);
      }
    }
  }
}

TEST(Terminal, SaysTheThings) {
  const std::string text = terminal_report(rich_report(), Language::english, 120, false);
  EXPECT_THAT(text, HasSubstr("Parity: fail (exit code 1)"));
  EXPECT_THAT(text, HasSubstr("layer 1's q"));
  EXPECT_THAT(text, HasSubstr("did not run"));
  EXPECT_THAT(text, HasSubstr("⟦"));        // the first token that differs
  EXPECT_THAT(text, HasSubstr("<e4 bd>"));  // bytes of a part of a character
  EXPECT_THAT(text, HasSubstr("10.500 ± 0.400"));
  EXPECT_THAT(text, HasSubstr("the reference's own noise: 1 arm(s)"));
  EXPECT_THAT(text, Not(HasSubstr("\u202E")));
  const std::string coloured = terminal_report(rich_report(), Language::english, 120, true);
  EXPECT_THAT(coloured, HasSubstr("\x1b[31m"));
  EXPECT_THAT(coloured, Not(HasSubstr("\x1b[31m\n\u202E")));
}

TEST(Terminal, AWordTableForEachLanguage) {
  const std::string text = terminal_report(rich_report(), Language::traditional_chinese, 100, false);
  EXPECT_THAT(text, HasSubstr("一致性比較：未通過"));
  EXPECT_THAT(text, HasSubstr("主記憶體峰值"));
}

// The reader of RFC 4180 that nobody tuned to the writer: quotes, doubled quotes, CRLF.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1, std::vector<std::string>(1));
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (quoted) {
      if (text[i] != '"') {
        rows.back().back() += text[i];
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        rows.back().back() += text[i++];
      } else {
        quoted = false;
      }
    } else if (text[i] == '"') {
      quoted = true;
    } else if (text[i] == ',') {
      rows.back().emplace_back();
    } else if (text[i] == '\r' && text[i + 1] == '\n') {
      ++i;
      rows.emplace_back(1);
    } else {
      rows.back().back() += text[i];
    }
  }
  rows.pop_back();
  return rows;
}

TEST(Csv, OneRowForEachArm) {
  json report = rich_report();
  report["arms"][1]["label"] = "a,\"b\"\r\nc";
  const auto rows = parse_csv(csv_report(report));
  ASSERT_EQ(rows.size(), 5U);
  for (const auto& row : rows) EXPECT_EQ(row.size(), rows[0].size());
  EXPECT_EQ(rows[0][0], "arm");
  EXPECT_EQ(rows[2][0], "a,\"b\"\r\nc");
  EXPECT_EQ(rows[3][0], hostile);
  const auto kl = std::find(rows[0].begin(), rows[0].end(), "kl_max") - rows[0].begin();
  EXPECT_EQ(std::stod(rows[3][static_cast<std::size_t>(kl)]),
            report["arms"][2]["against_reference"]["kl_max"].get<double>());  // every digit
  EXPECT_EQ(rows[1][static_cast<std::size_t>(kl)], "");
  EXPECT_EQ(rows[4].back(), hostile);
}

}  // namespace
}  // namespace tetrad::parity
