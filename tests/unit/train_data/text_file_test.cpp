#include "train/data/text_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/error_text.h"
#include "support/temp_dir.h"

namespace tetrad::train {
namespace {

using namespace std::string_literals;
using test::error_text;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> result;
  LineReader reader(text);
  for (std::string_view line; reader.next(line);) result.emplace_back(line);
  return result;
}

std::string utf16(std::u16string_view text, bool little) {
  std::string bytes;
  for (const char16_t c : text) {
    const char low = static_cast<char>(c & 0xFF), high = static_cast<char>(c >> 8);
    bytes += little ? low : high;
    bytes += little ? high : low;
  }
  return bytes;
}

TEST(TextFile, LinesOfBothKindsOfEnds) {
  EXPECT_THAT(lines_of("a\r\nb\n\nc"), ElementsAre("a", "b", "", "c"));
  EXPECT_THAT(lines_of("a\n"), ElementsAre("a"));
  EXPECT_THAT(lines_of("\n\r\n"), ElementsAre("", ""));
  EXPECT_THAT(lines_of("a\rb\r\r\n"), ElementsAre("a\rb\r"));
  EXPECT_TRUE(lines_of("").empty());
}

TEST(TextFile, ByteOrderMarkIsTakenAway) {
  EXPECT_EQ(check_encoding("\xEF\xBB\xBFwho\tme", "f"), "who\tme");
  EXPECT_EQ(check_encoding("", "f"), "");
  EXPECT_EQ(check_encoding("\xE4\xBD\xA0\xE5\xA5\xBD", "f"), "\xE4\xBD\xA0\xE5\xA5\xBD");
}

TEST(TextFile, OtherEncodingsAreNamedWithTheCommand) {
  const std::u16string english = u"who are you\tI am Tetrad\n", chinese = u"你是誰\t我是小四\n";
  for (const bool little : {true, false}) {
    const std::string wanted = little ? "UTF-16LE" : "UTF-16BE";
    for (const auto& text : {english, chinese}) {
      const std::string with_mark = (little ? "\xFF\xFE"s : "\xFE\xFF"s) + utf16(text, little);
      EXPECT_THAT(error_text([&] { check_encoding(with_mark, "d.tsv"); }),
                  AllOf(HasSubstr("[data] d.tsv: the file is UTF-16"),
                        HasSubstr("iconv -f UTF-16 -t UTF-8 'd.tsv' > 'd.tsv.utf8'")));
      EXPECT_THAT(error_text([&] { check_encoding(utf16(text, little), "d.tsv"); }),
                  HasSubstr("iconv -f " + wanted + " -t UTF-8"));
    }
  }
  EXPECT_THAT(error_text([] { check_encoding("\xFF\xFE\0\0a\0\0\0"s, "d"); }), HasSubstr("UTF-32"));
  // "你是誰<TAB>我是小四" in Big5 and in GB18030 ("你是谁", simplified).
  EXPECT_THAT(error_text([] {
                check_encoding("\xA7\x41\xAC\x4F\xBD\xD6\t\xA7\xDA\xAC\x4F\xA4\x70\xA5\x7C\n", "d.tsv");
              }),
              HasSubstr("iconv -f BIG5 -t UTF-8"));
  EXPECT_THAT(error_text([] {
                check_encoding("\xC4\xE3\xCA\xC7\xCB\xAD\x81\x30\x81\x30\t\xCE\xD2\xCA\xC7\xA1\x80\n",
                               "d.tsv");
              }),
              HasSubstr("iconv -f GB18030 -t UTF-8"));
}

TEST(TextFile, OneDamagedPlaceIsTheLinesMatter) {
  const std::string text = "你是誰\t我是小四\n什麼\t沒有\n";
  std::string damaged = text;
  damaged[1] = 'x';
  EXPECT_EQ(check_encoding(damaged, "d"), damaged);
}

TEST(TextFile, LineProblems) {
  EXPECT_EQ(line_problem("a\tb 你"), "");
  EXPECT_EQ(line_problem("ab\xFFz"), "byte 3 (0xFF) is not UTF-8");
  EXPECT_EQ(line_problem("a\0b"s), "byte 2 is a control character (0x00)");
  EXPECT_EQ(line_problem("a\rb"), "byte 2 is a control character (0x0D)");
  EXPECT_EQ(line_problem("a\x7F"), "byte 2 is a control character (0x7F)");
  EXPECT_EQ(line_problem(std::string((16 << 20) + 1, 'a')),
            "it is 16777217 bytes long; the most is 16777216");
  EXPECT_EQ(line_problem(std::string(16 << 20, 'a')), "");
}

TEST(TextFile, OnlyRegularFilesAreRead) {
  const test::TempDir dir;
  EXPECT_THAT(error_text([&] { read_data_file(dir / "none"); }), HasSubstr("there is no such file"));
  EXPECT_THAT(error_text([&] { read_data_file(dir.path()); }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_text([&] { read_data_file("/dev/zero"); }), HasSubstr("not a regular file"));
  EXPECT_EQ(read_data_file(dir.write("f", "x\0y"s)), "x\0y"s);
}

TEST(TextFile, CarriageReturnsBeforeLineFeeds) {
  EXPECT_EQ(without_carriage_returns("a\r\nb\rc\r\r\n\r"), "a\nb\rc\r\n\r");
}

}  // namespace
}  // namespace tetrad::train
