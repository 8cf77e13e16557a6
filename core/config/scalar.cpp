#include "config/scalar.h"

#include <fmt/format.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace tetrad::config {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), lower);
  return result;
}

// Text after an optional sign that starts like 0x1F, 0o17 or 0b101 and goes on in the digits of that base.
bool has_base_prefix(std::string_view digits) {
  if (digits.size() < 3 || digits[0] != '0') return false;
  const char base = lower(digits[1]);
  const std::string_view allowed = base == 'x'   ? "0123456789abcdefABCDEF_"
                                   : base == 'o' ? "01234567_"
                                   : base == 'b' ? "01_"
                                                 : "";
  return !allowed.empty() && digits.substr(2).find_first_not_of(allowed) == std::string_view::npos;
}

// What a text that may be a decimal number consists of; `ok` when it is one.
struct NumberShape {
  std::size_t integer_digits = 0;
  bool has_point = false;
  bool has_exponent = false;
  bool ok = false;
};

NumberShape number_shape(std::string_view text) {
  NumberShape shape;
  std::size_t at = 0;
  const auto count_digits = [&] {
    const std::size_t start = at;
    while (at < text.size() && is_digit(text[at])) ++at;
    return at - start;
  };
  shape.integer_digits = count_digits();
  std::size_t fraction_digits = 0;
  if (at < text.size() && text[at] == '.') {
    shape.has_point = true;
    ++at;
    fraction_digits = count_digits();
  }
  if (shape.integer_digits + fraction_digits == 0) return shape;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    shape.has_exponent = true;
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (count_digits() == 0) return shape;
  }
  shape.ok = at == text.size();
  return shape;
}

// 1_000 or 1_0.5: a number once the underscores are taken out.
bool is_number_with_underscores(std::string_view text) {
  if (text.find('_') == std::string_view::npos || !is_digit(text[0])) return false;
  std::string bare(text);
  std::erase(bare, '_');
  return number_shape(bare).ok;
}

}  // namespace

Node plain_scalar(std::string_view text, const Origin& origin, std::string& problem) {
  problem.clear();
  if (text.empty() || text == "null" || text == "~" || text == "Null" || text == "NULL") {
    return Node::null(origin, std::string(text));
  }
  if (text == "true" || text == "false") return Node::boolean(text == "true", origin);

  std::string_view digits = text;
  const bool negative = digits[0] == '-';
  if (negative || digits[0] == '+') digits.remove_prefix(1);
  if (digits.empty() || !(is_digit(digits[0]) || digits[0] == '.'))
    return Node::string(std::string(text), origin);

  const auto refuse = [&](std::string why) {
    problem = std::move(why);
    return Node::invalid(origin, std::string(text));
  };
  const std::string small = lowered(digits);
  if (small == ".inf" || small == ".nan") {
    return refuse(fmt::format("{} is not a finite number", quoted_for_message(text)));
  }
  if (has_base_prefix(digits) || is_number_with_underscores(digits)) {
    return refuse(fmt::format(
        "{} is not a decimal number; write it in plain decimal digits, or in quotes if it is text",
        quoted_for_message(text)));
  }
  const NumberShape shape = number_shape(digits);
  if (!shape.ok) return Node::string(std::string(text), origin);
  if (shape.integer_digits > 1 && digits[0] == '0') {
    return refuse(
        fmt::format("{} is ambiguous (some readers take a leading zero for octal); write it without the "
                    "leading zero, or in quotes if it is text",
                    quoted_for_message(text)));
  }
  const std::string_view parsed = negative ? text : digits;  // from_chars takes no '+'
  const char* const end = parsed.data() + parsed.size();
  if (!shape.has_point && !shape.has_exponent) {
    std::int64_t value = 0;
    if (std::from_chars(parsed.data(), end, value).ec != std::errc{}) {
      return refuse(fmt::format("{} does not fit into a 64-bit integer", quoted_for_message(text)));
    }
    return Node::integer(value, origin, std::string(text));
  }
  double value = 0;
  if (std::from_chars(parsed.data(), end, value).ec != std::errc{} || !std::isfinite(value)) {
    return refuse(
        fmt::format("{} does not fit into a 64-bit floating-point number", quoted_for_message(text)));
  }
  return Node::number(value, origin, std::string(text));
}

std::string number_text(double value) {
  std::array<char, 40> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  std::string text(buffer.data(), error == std::errc{} ? end : buffer.data());
  // Readers of YAML 1.1 take a number for one only if it has a point.
  if (text.find('.') == std::string::npos) text.insert(std::min(text.find('e'), text.size()), ".0");
  return text;
}

bool looks_boolean(std::string_view text) {
  static constexpr std::array<std::string_view, 8> words = {"yes", "no", "on",   "off",
                                                            "y",   "n",  "true", "false"};
  return std::find(words.begin(), words.end(), lowered(text)) != words.end();
}

std::size_t invalid_utf8_offset(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned char first = byte(i);
    std::size_t length = 1;
    unsigned char low = 0x80;  // allowed range of the second byte
    unsigned char high = 0xBF;
    if (first < 0x80) {
      ++i;
      continue;
    }
    if (first >= 0xC2 && first <= 0xDF) {
      length = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
      length = 3;
      if (first == 0xE0) low = 0xA0;
      if (first == 0xED) high = 0x9F;
    } else if (first >= 0xF0 && first <= 0xF4) {
      length = 4;
      if (first == 0xF0) low = 0x90;
      if (first == 0xF4) high = 0x8F;
    } else {
      return i;
    }
    if (i + length > text.size() || byte(i + 1) < low || byte(i + 1) > high) return i;
    for (std::size_t k = 2; k < length; ++k) {
      if (byte(i + k) < 0x80 || byte(i + k) > 0xBF) return i;
    }
    i += length;
  }
  return std::string_view::npos;
}

std::string quoted_for_message(std::string_view text) {
  constexpr std::size_t limit = 60;
  std::string result = "'";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (i >= limit && (c & 0xC0) != 0x80) {  // never inside a character
      result += "...";
      break;
    }
    if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (c < 0x20 || c == 0x7F) {
      result += fmt::format("\\x{:02x}", c);
    } else {
      result += text[i];
    }
  }
  return result + "'";
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

}  // namespace tetrad::config
