// What hostile bytes look like in a message.
#include "sdk/base/printable.h"

#include <gtest/gtest.h>

#include <random>

#include "text/utf8.h"

namespace tetrad {
namespace {

TEST(Printable, LeavesTextAlone) {
  for (const char* text :
       {"", "plain", "\xE4\xBD\xA0\xE5\xA5\xBD", "\xF0\x9F\x99\x82", "e\xCC\x81", "a'b\"c\\"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, EscapesControlCharactersAndWhatIsNoUtf8) {
  EXPECT_EQ(printable("\x1b[31m"), "\\x1B[31m");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable("\r\n\t\x7f"), "\\x0D\\x0A\\x09\\x7F");
  EXPECT_EQ(printable("a\nb", 200, Newlines::keep), "a\nb");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\xC2\\x9B"
            "31m")
      << "C1 control: a terminal may take it for ESC [";
  EXPECT_EQ(printable("\xFFz\xE4\xBD"), "\\xFFz\\xE4\\xBD");
  EXPECT_EQ(printable("\xC0\xAF"), "\\xC0\\xAF") << "overlong";
  EXPECT_EQ(printable("\xED\xA0\x80"), "\\xED\\xA0\\x80") << "surrogate";
  EXPECT_EQ(printable("\xF4\x90\x80\x80"), "\\xF4\\x90\\x80\\x80") << "beyond U+10FFFF";
}

TEST(Printable, CutsLongTexts) {
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("abc", 3), "abc");
  EXPECT_EQ(printable("\xE4\xBD\xA0\xE5\xA5\xBD", 1), "\xE4\xBD\xA0...") << "never inside a character";
}

TEST(Printable, IsAlwaysValidAndStaysAsItIs) {
  std::mt19937 random(11);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    for (std::size_t i = 0, n = random() % 12; i < n; ++i) {
      // Mostly bytes that begin or continue a character.
      bytes += static_cast<char>(random() % 3 == 0 ? random() % 128 : 128 + random() % 128);
    }
    const std::string text = printable(bytes);
    ASSERT_FALSE(text::validate_utf8(text));
    ASSERT_EQ(printable(text), text);
    // The room's own decoder agrees about what is valid.
    if (!text::validate_utf8(bytes) && text != bytes) {
      bool control = false;
      for (std::size_t at = 0; at < bytes.size();) {
        const text::Utf8Char c = text::decode_utf8(bytes, at);
        control = control || c.code_point < 0x20 || (c.code_point >= 0x7F && c.code_point < 0xA0);
        at += c.length;
      }
      ASSERT_TRUE(control) << bytes;
    }
  }
}

TEST(Printable, JsonProblemsLoseTheLibrarysPrefix) {
  EXPECT_EQ(
      json_problem("[json.exception.parse_error.101] parse error at line 1, column 2: syntax error - '\xff'"),
      "line 1, column 2: syntax error - '\\xFF'");
  EXPECT_EQ(json_problem("[json.exception.type_error.302] type must be string"), "type must be string");
  EXPECT_EQ(json_problem("[1] is no prefix"), "[1] is no prefix");
}

}  // namespace
}  // namespace tetrad
