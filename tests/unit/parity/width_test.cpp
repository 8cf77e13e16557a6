// Columns, cutting and wrapping of text with wide, combining and dangerous characters.
#include "parity/report/width.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "parity/report/text_table.h"
#include "parity/report/tokens.h"
#include "text/utf8.h"

#include <nlohmann/json.hpp>

namespace tetrad::parity {
namespace {

using ::testing::ElementsAre;

TEST(Width, Columns) {
  EXPECT_EQ(columns_of(""), 0);
  EXPECT_EQ(columns_of("abc"), 3);
  EXPECT_EQ(columns_of("記憶體"), 6);
  EXPECT_EQ(columns_of("e\u0301"), 1);  // a combining accent
  EXPECT_EQ(columns_of("😀"), 2);
  EXPECT_EQ(columns_of("ｆｕｌｌ"), 8);
}

TEST(Width, ShownHasNothingThatATerminalObeys) {
  EXPECT_EQ(shown("a\nb\tc"), "a↵b→c");
  EXPECT_EQ(shown("\x1b[31m"), "␛[31m");
  EXPECT_EQ(shown("\x7f"), "␡");
  EXPECT_EQ(shown("a\u202Eb"), "a<U+202E>b");
  EXPECT_EQ(shown("\u200B"), "<U+200B>");
  EXPECT_EQ(shown("\u0085"), "<U+0085>");
  EXPECT_EQ(shown("\xE4\xBD"), "\uFFFD");
}

TEST(Width, Cut) {
  EXPECT_EQ(cut("abcdef", 6), "abcdef");
  EXPECT_EQ(cut("abcdef", 5), "abcd…");
  EXPECT_EQ(cut("記憶體快取", 6), "記憶…");
  EXPECT_EQ(columns_of(cut("記憶體快取", 6)), 5);  // half a character is none
  EXPECT_EQ(cut("abc", 0), "");
}

TEST(Width, Wrap) {
  EXPECT_THAT(wrapped("one two three", 8), ElementsAre("one two", "three"));
  EXPECT_THAT(wrapped("abcdefghij", 4), ElementsAre("abcd", "efgh", "ij"));
  EXPECT_THAT(wrapped("記憶體與權重", 6), ElementsAre("記憶體", "與權重"));
  EXPECT_THAT(wrapped("記憶體，權重", 6),
              ElementsAre("記憶", "體，權", "重"));  // no line begins with a comma
  EXPECT_TRUE(wrapped("", 10).empty());
}

TEST(Width, WrapNeverLosesTextNorExceedsTheWidth) {
  std::mt19937 rng(3);
  for (int round = 0; round < 400; ++round) {
    std::string text;
    for (int i = 0; i < 60; ++i) {
      static const std::vector<std::string> parts = {"a", "bc ", "記", "，", " ", "😀", "e\u0301", "word "};
      text += parts[rng() % parts.size()];
    }
    const int width = 2 + static_cast<int>(rng() % 30);
    std::string all;
    for (const std::string& line : wrapped(text, width)) {
      EXPECT_LE(columns_of(line), width) << line;
      all += line;
    }
    const auto dense = [](std::string s) {
      std::erase(s, ' ');
      return s;
    };
    EXPECT_EQ(dense(all), dense(text));
  }
}

TEST(Table, AlignsWideCharactersAndFitsTheWidth) {
  const std::vector<TableColumn> columns = {{"組別", Align::left, {"基準", "a"}},
                                            {"KL", Align::right, {"1", "記憶"}}};
  EXPECT_EQ(text_table(columns, 40), "組別    KL\n基準     1\na     記憶\n");
  std::vector<TableColumn> many = columns;
  for (int i = 0; i < 8; ++i)
    many.push_back({"column" + std::to_string(i), Align::right, {"123456789", "1"}});
  const std::string table = text_table(many, 40);
  std::size_t begin = 0;
  std::size_t lines = 0;
  while (begin < table.size()) {
    const std::size_t end = table.find('\n', begin);
    EXPECT_LE(columns_of(table.substr(begin, end - begin)), 40);
    begin = end + 1;
    ++lines;
  }
  EXPECT_GT(lines, 6U);  // several blocks
  for (int i = 0; i < 8; ++i) EXPECT_NE(table.find("column" + std::to_string(i)), table.npos);
}

TEST(Tokens, AreShownAsTheyAre) {
  EXPECT_EQ(token_text({{"id", 7}, {"piece", {{"text", " Paris"}}}}), "\" Paris\" #7");
  EXPECT_EQ(token_text({{"id", 7}, {"piece", {{"bytes", "e4bd"}}}}), "<e4 bd> #7");
  EXPECT_EQ(token_text({{"id", 7}, {"piece", nullptr}}), "#7");
  EXPECT_EQ(token_text({{"id", 7}, {"piece", {{"text", "\n"}}}}), "\"↵\" #7");
  EXPECT_EQ(token_text(nullptr), "-");
}

TEST(Tokens, Numbers) {
  EXPECT_EQ(short_number(0.0), "0");
  EXPECT_EQ(short_number(3.14e-7), "3.1e-07");
  EXPECT_EQ(short_number(0.02351), "0.0235");
  EXPECT_EQ(short_number(1234.5), "1234");
  EXPECT_EQ(short_number(std::nullopt), "-");
  EXPECT_EQ(percent(1.0), "100 %");
  EXPECT_EQ(percent(0.9999), "99.9 %");  // never rounded up to all
  EXPECT_EQ(percent(0.5), "50 %");
  EXPECT_EQ(gib(2.0 * 1024 * 1024 * 1024), "2.00 GiB");
  EXPECT_EQ(gib(300.0 * 1024 * 1024), "300 MiB");
  EXPECT_EQ(seconds(0.0123), "12.3 ms");
}

}  // namespace
}  // namespace tetrad::parity
