// Reading YAML: types of plain scalars, places, limits, and hostile texts.
#include "config/yaml_reader.h"

#include "config/emit.h"
#include "config/scalar.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

namespace tetrad::config {
namespace {

const auto file_name = std::make_shared<const std::string>("t.yaml");

Node read(const std::string& text, Diagnostics& diagnostics, const ReadLimits& limits = {}) {
  return read_yaml(text, Origin::file(file_name, 0, 0), diagnostics, limits);
}

Node read_good(const std::string& text) {
  Diagnostics diagnostics;
  const Node node = read(text, diagnostics);
  for (const Diagnostic& error : diagnostics.errors()) ADD_FAILURE() << error.to_string() << "\nin: " << text;
  return node;
}

std::string errors(const std::string& text, const ReadLimits& limits = {}) {
  Diagnostics diagnostics;
  read(text, diagnostics, limits);
  std::string result;
  for (const Diagnostic& error : diagnostics.errors()) result += error.to_string() + "\n";
  return result;
}

Kind kind_of(const std::string& text) {
  return read_good("k: " + text).get("k")->kind();
}

TEST(PlainScalar, TypesAreDecidedBySpellingAlone) {
  for (const char* text : {"true", "false"}) EXPECT_EQ(kind_of(text), Kind::boolean) << text;
  for (const char* text : {"0", "7", "-7", "+7", "9223372036854775807", "-9223372036854775808"}) {
    EXPECT_EQ(kind_of(text), Kind::integer) << text;
  }
  for (const char* text : {"0.5", ".5", "1.", "-0.0", "1e3", "1E-3", "+1.5e+3", "0e0"}) {
    EXPECT_EQ(kind_of(text), Kind::number) << text;
  }
  for (const char* text :
       {"yes",  "No",         "on",       "OFF",    "True",  "FALSE", "y",      "n",   "inf", "nan", "1.2.3",
        "1:30", "2024-01-01", "0x",       "0xg",    "1e",    "e5",    "+",      ".",   "-.",  "1_a", "12ab",
        "_1",   "'8'",        "\"true\"", "'null'", "nulls", "0.1.0", "cuda:0", "a b", "\"\""}) {
    EXPECT_EQ(kind_of(text), Kind::string) << text;
  }
  for (const char* text : {"null", "~", "Null", "NULL", ""}) EXPECT_EQ(kind_of(text), Kind::null) << text;
  for (const char* text : {"010",
                           "-01",
                           "+00",
                           "00",
                           "0x1F",
                           "0X1f",
                           "0o7",
                           "0b1",
                           "1_0",
                           "1_0.5",
                           ".inf",
                           "-.INF",
                           "+.Inf",
                           ".nan",
                           "01.5",
                           "00e1",
                           "9223372036854775808",
                           "-9223372036854775809",
                           "1e400",
                           "-1e400"}) {
    EXPECT_NE(errors(std::string("k: ") + text), "") << text;
    EXPECT_EQ(errors(std::string("k: '") + text + "'"), "") << "quoted " << text;
  }
}

TEST(PlainScalar, ValuesAreExact) {
  const Node map = read_good("{a: -9223372036854775808, b: 0.1, c: 1e22, d: 4.9e-324, e: +3}");
  EXPECT_EQ(map.get("a")->as_integer(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(map.get("b")->as_number(), 0.1);
  EXPECT_EQ(map.get("c")->as_number(), 1e22);
  EXPECT_EQ(map.get("d")->as_number(), std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(map.get("e")->as_integer(), 3);
}

TEST(NumberText, ReadsBackAsTheSameDouble) {
  std::mt19937_64 rng(7);
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t bits = rng();
    double value = 0;
    static_assert(sizeof bits == sizeof value);
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    std::string problem;
    const Node node = plain_scalar(number_text(value), {}, problem);
    ASSERT_EQ(problem, "") << number_text(value);
    ASSERT_EQ(node.kind(), Kind::number) << number_text(value);
    ASSERT_EQ(node.as_number(), value) << number_text(value);
  }
  EXPECT_EQ(number_text(1), "1.0");
  EXPECT_EQ(number_text(1e300), "1.0e+300");
  EXPECT_EQ(number_text(5e-5), "5.0e-05");
}

TEST(YamlReader, EveryNodeKnowsItsPlace) {
  const Node map =
      read_good("a: 1\nb:\n  c: [x,  \"\xE4\xBD\xA0\", y]\n  # note\n  d: {e: &anchor f}\ng: *anchor\n");
  const auto place = [](const Origin& origin) { return origin.prefix(); };
  EXPECT_EQ(place(map.find("a")->key_origin), "t.yaml:1:1");
  EXPECT_EQ(place(map.get("a")->origin()), "t.yaml:1:4");
  EXPECT_EQ(place(map.find("b")->key_origin), "t.yaml:2:1");
  const Node& b = *map.get("b");
  EXPECT_EQ(place(b.get("c")->origin()), "t.yaml:3:6");
  EXPECT_EQ(place(b.get("c")->items()[1].origin()), "t.yaml:3:11");
  EXPECT_EQ(place(b.get("c")->items()[2].origin()), "t.yaml:3:16") << "columns are characters, not bytes";
  EXPECT_EQ(place(b.get("d")->find("e")->key_origin), "t.yaml:5:7");
  EXPECT_EQ(place(map.get("g")->origin()), "t.yaml:5:10") << "an alias's value stands at the anchor";
}

TEST(YamlReader, TextsOfAllStyles) {
  const Node map = read_good(
      "a: |\n  one\n  two\nb: >\n  one\n  two\nc: 'it''s'\nd: \"tab\\t\\u4f60\\x41\"\ne: one\n  two\nf: "
      "\"x\"  # note\n");
  EXPECT_EQ(map.get("a")->as_string(), "one\ntwo\n");
  EXPECT_EQ(map.get("b")->as_string(), "one two\n");
  EXPECT_EQ(map.get("c")->as_string(), "it's");
  EXPECT_EQ(map.get("d")->as_string(),
            "tab\t\xE4\xBD\xA0"
            "A");
  EXPECT_EQ(map.get("e")->as_string(), "one two");
  EXPECT_EQ(map.get("f")->as_string(), "x");
}

TEST(YamlReader, EmptyDocumentsAreEmptyMaps) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "\xEF\xBB\xBF", "---\n...\n"}) {
    const Node node = read_good(text);
    EXPECT_TRUE(node.is_map() || (node.is_null() && node.text().empty())) << text;
  }
}

TEST(YamlReader, UnclosedQuotesAreErrors) {
  EXPECT_EQ(errors("a: 'x\n"), "t.yaml:1:4: YAML syntax: the quotes that open here are not closed\n");
  EXPECT_EQ(errors("a: 'x''\n"), "t.yaml:1:4: YAML syntax: the quotes that open here are not closed\n");
  EXPECT_EQ(errors("a: \"x\\\"\n"), "t.yaml:1:4: YAML syntax: the quotes that open here are not closed\n");
  EXPECT_EQ(errors("a: &b \"x\n\n"), "t.yaml:1:4: YAML syntax: the quotes that open here are not closed\n");
  EXPECT_EQ(errors("a: 'x''y'\nb: \"\\\\\"\nc: &d 'e'\n"), "");
  EXPECT_NE(errors("a: \"x"), "");
  EXPECT_NE(errors("\"a\n"), "") << "a key";
}

TEST(YamlReader, BrokenSyntaxIsAnErrorWithAPlace) {
  for (const char* text :
       {"a: [1, 2\n", "a: {b: 1\n", "a: ]\n", "a: b: c\n", "a: 1\n b: 2\n", "- a\nb: 1\n", "a: *nobody\n",
        "a: %x\n", "a: @x\n", "a: `x`\n", "a: \"\\q\"\n", "a: |x\n  y\n", "? [a\n"}) {
    const std::string text_of_errors = errors(text);
    EXPECT_EQ(text_of_errors.rfind("t.yaml:", 0), 0U) << text << " -> " << text_of_errors;
  }
}

// yaml-cpp decodes them to one byte, which would make the text invalid UTF-8.
TEST(YamlReader, EscapesThatWouldBreakUtf8AreErrors) {
  const std::string expected =
      "t.yaml:1:4: the escapes \\_ and \\N are not supported; write \\u00a0 or \\u0085\n";
  EXPECT_EQ(errors("a: \"x\\_y\"\n"), expected);
  EXPECT_EQ(errors("a: \"x\\Ny\"\n"), expected);
  EXPECT_EQ(errors("a: \"x\\u00a0\\u0085\\L\\Py\"\n"), "");
}

TEST(YamlReader, AliasBombsAreStopped) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 40; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
    for (int k = 0; k < 9; ++k) bomb += ", " + last;
    bomb += "]\n";
  }
  EXPECT_EQ(errors(bomb), "t.yaml:5:25: more than 50000 values, aliases expanded, by this place\n");
  EXPECT_EQ(errors("a: &a [x, *a]\n"), "t.yaml:1:11: this alias stands inside the value that it refers to\n");
  EXPECT_EQ(errors("a: &a {b: *a}\n"), "t.yaml:1:11: this alias stands inside the value that it refers to\n");
}

TEST(YamlReader, DepthIsBounded) {
  const auto nested = [](int depth, const char* open, const char* close) {
    std::string text = "a: ";
    for (int i = 0; i < depth; ++i) text += open;
    text += "1";
    for (int i = 0; i < depth; ++i) text += close;
    return text;
  };
  EXPECT_EQ(errors(nested(31, "[", "]")), "");
  EXPECT_EQ(errors(nested(32, "[", "]")), "t.yaml:1:35: lists and maps are nested more than 32 deep\n");
  EXPECT_EQ(errors(nested(32, "{b: ", "}")), "t.yaml:1:128: lists and maps are nested more than 32 deep\n");
  EXPECT_NE(errors(nested(100000, "[", "]")), "");
  std::string dashes;
  for (int i = 0; i < 100000; ++i) dashes += "- ";
  EXPECT_NE(errors(dashes), "");
  std::string questions;
  for (int i = 0; i < 50000; ++i) questions += "? ";
  EXPECT_NE(errors(questions), "");
  // Depth that only comes about through aliases.
  std::string steps = "a0: &a0 [x]\n";
  for (int i = 1; i < 40; ++i) {
    steps += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  }
  EXPECT_EQ(errors(steps), "t.yaml:32:12: lists and maps are nested more than 32 deep\n");
}

TEST(YamlReader, SizeIsBounded) {
  EXPECT_EQ(errors("a: " + std::string(100, 'x'), {50, 100, 10}),
            "t.yaml: the text is 103 bytes long; a config has at most 50\n");
  std::string many = "a: [";
  for (int i = 0; i < 60000; ++i) many += "[],";
  EXPECT_EQ(errors(many + "]"), "t.yaml:1:149999: more than 50000 values, aliases expanded, by this place\n");
}

// Whatever the text, reading ends, and either gives a tree that can be walked or an error with a place.
TEST(YamlReader, MutatedTextsNeverCrash) {
  const std::string seed =
      "extends: [a.yaml]\nlinear: {plugin: &p x, options: {a: [1, 2.5, \"q\\n\"], b: 'it''s'}}\nchat:\n  "
      "prompt: |\n    text\n"
      "    more\n  seed: -7 # note\n  ? k\n  : *p\n";
  const std::string alphabet = " \n\t:-?[]{}'\"&*!|>%@`#,~<\\0aé\xFF\x01.";
  std::mt19937 rng(11);
  for (int round = 0; round < 20000; ++round) {
    std::string text = seed;
    for (unsigned edits = 1 + rng() % 6; edits > 0; --edits) {
      const std::size_t at = rng() % (text.size() + 1);
      switch (rng() % 3) {
        case 0:
          text.insert(at, 1, alphabet[rng() % alphabet.size()]);
          break;
        case 1:
          text.erase(at, 1 + rng() % 4);
          break;
        default:
          text = text.substr(0, at) + text.substr(rng() % (text.size() + 1));
          break;
      }
    }
    Diagnostics diagnostics;
    const Node node = read(text, diagnostics);
    if (!diagnostics.has_errors()) to_json(node);
    for (const Diagnostic& error : diagnostics.errors()) {
      ASSERT_GE(error.where.line, 1) << error.to_string() << "\n" << text;
      ASSERT_LE(error.where.line, 200);
    }
  }
}

TEST(Utf8, InvalidOffsets) {
  EXPECT_EQ(invalid_utf8_offset("a\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80"), std::string::npos);
  EXPECT_EQ(invalid_utf8_offset("a\xC0\x80"), 1U) << "overlong";
  EXPECT_EQ(invalid_utf8_offset("\xE0\x80\x80"), 0U) << "overlong";
  EXPECT_EQ(invalid_utf8_offset("ab\xED\xA0\x80"), 2U) << "surrogate";
  EXPECT_EQ(invalid_utf8_offset("\xF4\x90\x80\x80"), 0U) << "beyond U+10FFFF";
  EXPECT_EQ(invalid_utf8_offset("x\xE4\xBD"), 1U) << "cut short";
  EXPECT_EQ(invalid_utf8_offset("\x80"), 0U);
}

TEST(QuotedForMessage, IsShortAndPrintable) {
  EXPECT_EQ(quoted_for_message("a\nb\x01"), "'a\\nb\\x01'");
  EXPECT_EQ(quoted_for_message(std::string(100, 'x')), "'" + std::string(60, 'x') + "...'");
  EXPECT_EQ(quoted_for_message(std::string(59, 'x') + "\xE4\xBD\xA0z"),
            "'" + std::string(59, 'x') + "\xE4\xBD\xA0...'");
}

}  // namespace
}  // namespace tetrad::config
