#include "text/utf8.h"

#include <gtest/gtest.h>

#include <tetrad/base/error.h>

#include <random>

namespace tetrad::text {
namespace {

// Independent check: a byte string is valid if decoding it by the table of the Unicode standard (3-7) accepts
// it.
bool valid_by_table(const std::string& s) {
  const auto in = [&](std::size_t i, int low, int high) {
    return i < s.size() && static_cast<unsigned char>(s[i]) >= low &&
           static_cast<unsigned char>(s[i]) <= high;
  };
  for (std::size_t i = 0; i < s.size();) {
    if (in(i, 0, 0x7F)) {
      i += 1;
      continue;
    }
    if (in(i, 0xC2, 0xDF) && in(i + 1, 0x80, 0xBF)) {
      i += 2;
      continue;
    }
    const bool three =
        (in(i, 0xE0, 0xE0) && in(i + 1, 0xA0, 0xBF)) || (in(i, 0xE1, 0xEC) && in(i + 1, 0x80, 0xBF)) ||
        (in(i, 0xED, 0xED) && in(i + 1, 0x80, 0x9F)) || (in(i, 0xEE, 0xEF) && in(i + 1, 0x80, 0xBF));
    if (three && in(i + 2, 0x80, 0xBF)) {
      i += 3;
      continue;
    }
    const bool four = (in(i, 0xF0, 0xF0) && in(i + 1, 0x90, 0xBF)) ||
                      (in(i, 0xF1, 0xF3) && in(i + 1, 0x80, 0xBF)) ||
                      (in(i, 0xF4, 0xF4) && in(i + 1, 0x80, 0x8F));
    if (four && in(i + 2, 0x80, 0xBF) && in(i + 3, 0x80, 0xBF)) {
      i += 4;
      continue;
    }
    return false;
  }
  return true;
}

TEST(Utf8, AgreesWithTheStandardsTableOnRandomBytes) {
  std::mt19937 rng(7);
  using namespace std::string_literals;
  const std::string interesting =
      "\x00\x41\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff"s;
  for (int round = 0; round < 200000; ++round) {
    std::string s(rng() % 7, '\0');
    for (char& c : s) c = interesting[rng() % interesting.size()];
    ASSERT_EQ(!validate_utf8(s).has_value(), valid_by_table(s)) << round;
    ASSERT_TRUE(valid_by_table(lossy_utf8(s)));
    if (const auto bad = validate_utf8(s)) {
      ASSERT_TRUE(valid_by_table(s.substr(0, *bad)));
    }
  }
}

TEST(Utf8, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string s;
    append_utf8(s, c);
    const Utf8Char back = decode_utf8(s, 0);
    ASSERT_EQ(back.code_point, c);
    ASSERT_EQ(back.length, s.size());
    ASSERT_EQ(back.status, Utf8Status::valid);
  }
}

TEST(Utf8, LossyReplacesMaximalSubparts) {
  // The example of the Unicode standard, table 3-8.
  EXPECT_EQ(lossy_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\uFFFD\uFFFD\uFFFD"
            "b\uFFFD"
            "c\uFFFD\uFFFD"
            "d");
}

TEST(Utf8, ReportsTheFirstBadByte) {
  EXPECT_EQ(validate_utf8("0123456789\xff"), 10u);
  EXPECT_EQ(validate_utf8("0123456789\xe4\xb8"), 10u);
  EXPECT_EQ(validate_utf8("\xe4\xb8\xad"), std::nullopt);
  try {
    require_utf8("ab\xc0", "prompt");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::usage);
    EXPECT_STREQ(e.what(), "[text] prompt is not valid UTF-8 at byte 2; save or send it as UTF-8");
  }
}

}  // namespace
}  // namespace tetrad::text
