#include "io/json.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <random>

#include "sdk/base/printable.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

namespace tetrad::io {
namespace {

using nlohmann::json;
using test::error_text;
using testing::HasSubstr;

std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  return error_text([&] { parse_json(text, "f", limits); });
}

json random_value(std::mt19937& random, int depth) {
  switch (random() % (depth > 0 ? 8 : 6)) {
    case 0:
      return nullptr;
    case 1:
      return random() % 2 == 0;
    case 2:
      return -static_cast<std::int64_t>(random());
    case 3:
      return random();
    case 4:
      return static_cast<double>(random()) / 7.0;
    case 5:
      return std::string(random() % 5, static_cast<char>('!' + random() % 90));
    case 6: {
      json list = json::array();
      for (auto n = random() % 5; n > 0; --n) list.push_back(random_value(random, depth - 1));
      return list;
    }
    default: {
      json map = json::object();
      for (auto n = random() % 5; n > 0; --n)
        map[std::to_string(random() % 100)] = random_value(random, depth - 1);
      return map;
    }
  }
}

TEST(Json, equals_the_librarys_own_parser) {
  std::mt19937 random(5);
  for (int i = 0; i < 500; ++i) {
    const std::string text = random_value(random, 6).dump(i % 3);
    EXPECT_EQ(parse_json(text, "f"), json::parse(text)) << text;
  }
}

TEST(Json, refuses_what_the_limits_forbid) {
  EXPECT_EQ(refusal(R"({"a":{"b":1,"b":2}})"), "[json] f: duplicate key 'b'");
  EXPECT_EQ(refusal("[[[]]]", {.max_depth = 3}), "no error");
  EXPECT_EQ(refusal("[[[[]]]]", {.max_depth = 3}), "[json] f: nested deeper than 3 levels");
  EXPECT_EQ(refusal("[1,2,3]", {.max_values = 4}), "no error");
  EXPECT_EQ(refusal("[1,2,3,4]", {.max_values = 4}), "[json] f: more than 4 values");
  EXPECT_EQ(refusal("[1,2,3]", {.max_bytes = 6}), "[json] f: 7 bytes of JSON, more than the 6 allowed");
  EXPECT_THAT(refusal(std::string(1'000'000, '[')), HasSubstr("nested deeper"));
}

TEST(Json, names_the_place_of_syntax_errors) {
  EXPECT_THAT(refusal("{\n  \"a\": 1,\n  b\n}"), HasSubstr("[json] f: line 3, column 3: syntax error"));
  EXPECT_THAT(refusal(""), HasSubstr("[json] f: line 1, column 1"));
  EXPECT_THAT(refusal("{} {}"), HasSubstr("[json] f: line 1, column 4"));
  for (const char* bad : {"nul", "NaN", "[1,]", "{\"a\":1,}", "{'a':1}", "// x\n1", "01", "1e999", "\"\xc3\"",
                          "\"\\ud800\"", "\"\n\""}) {
    EXPECT_THAT(refusal(bad), HasSubstr("[json] f: ")) << bad;
  }
}

TEST(Json, names_in_messages_are_printable) {
  EXPECT_EQ(printable("layers.0 \u6b0a\u91cd"), "layers.0 \u6b0a\u91cd");
  EXPECT_EQ(printable("a\x1b[2J\n\x7f"), "a\\x1B[2J\\x0A\\x7F");
  EXPECT_EQ(printable("\xff\xe6\xac'\xc2\x9b"), "\\xFF\\xE6\\xAC'\\xC2\\x9B");
  EXPECT_EQ(printable(std::string(1000, 'x')), std::string(200, 'x') + "...");
  EXPECT_THAT(refusal("{\"\xe6\xac'\":"), HasSubstr("\\xE6\\xAC"));
}

TEST(Json, refuses_files_that_cannot_be_read) {
  test::TempDir dir;
  EXPECT_THAT(error_text([&] { read_json(dir / "none"); }), HasSubstr("no such file"));
  EXPECT_THAT(error_text([&] { read_json(dir.path()); }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_text([&] { read_json(dir.write("big", "[1,2,3]"), {.max_bytes = 3}); }),
              HasSubstr("7 bytes, more than the 3"));
  EXPECT_EQ(read_json(dir.write("good", "[1]")), json::parse("[1]"));
  EXPECT_THAT(error_text([&] { read_json(dir.write("bad", "[1")); }),
              HasSubstr((dir / "bad").string() + ": line 1, column"));
}

}  // namespace
}  // namespace tetrad::io
