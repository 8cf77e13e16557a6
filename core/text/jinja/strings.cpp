#include "text/jinja/strings.h"

#include "text/jinja/value.h"
#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <algorithm>

namespace tetrad::text::jinja {
namespace {

std::string cased(std::string_view text, char first, char last, int offset) {
  std::string out(text);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) >= 0x80) throw Error("changing the case of text beyond ASCII");
    if (c >= first && c <= last) c = static_cast<char>(c + offset);
  }
  return out;
}

}  // namespace

std::string strip(std::string_view text, const std::optional<std::string>& chars, bool left, bool right) {
  std::vector<std::string> wanted;
  if (chars) wanted = characters(*chars);
  const auto strips = [&](std::string_view one) {
    if (!chars) return is_python_space(decode_utf8(one, 0).code_point);
    return std::find(wanted.begin(), wanted.end(), one) != wanted.end();
  };
  while (left && !text.empty()) {
    const std::size_t length = decode_utf8(text, 0).length;
    if (!strips(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    if (!strips(text.substr(start))) break;
    text.remove_suffix(text.size() - start);
  }
  return std::string(text);
}

std::vector<std::string> split(std::string_view text, const std::optional<std::string>& separator,
                               std::int64_t limit) {
  std::vector<std::string> out;
  if (separator) {
    if (separator->empty()) throw Error("split() at an empty string");
    while (limit < 0 || static_cast<std::int64_t>(out.size()) < limit) {
      const std::size_t at = text.find(*separator);
      if (at == std::string_view::npos) break;
      out.emplace_back(text.substr(0, at));
      text.remove_prefix(at + separator->size());
    }
    out.emplace_back(text);
    return out;
  }
  std::string rest = strip(text, std::nullopt, true, false);
  while (!rest.empty()) {
    std::size_t end = 0;
    while (end < rest.size() && !is_python_space(decode_utf8(rest, end).code_point))
      end += decode_utf8(rest, end).length;
    if (limit >= 0 && static_cast<std::int64_t>(out.size()) >= limit) {
      out.push_back(rest);  // Python keeps the white space at the end here
      break;
    }
    out.push_back(rest.substr(0, end));
    rest = strip(std::string_view(rest).substr(end), std::nullopt, true, false);
  }
  return out;
}

std::string replace(std::string_view text, std::string_view old, std::string_view fresh) {
  if (old.empty()) throw Error("replace() of an empty string");
  std::string out;
  for (;;) {
    const std::size_t at = text.find(old);
    if (at == std::string_view::npos) break;
    out.append(text.substr(0, at)).append(fresh);
    if (out.size() > kMaxText) throw Error("replace() gives too long a text");
    text.remove_prefix(at + old.size());
  }
  return out.append(text);
}

std::string lower(std::string_view text) {
  return cased(text, 'A', 'Z', 'a' - 'A');
}
std::string upper(std::string_view text) {
  return cased(text, 'a', 'z', 'A' - 'a');
}

}  // namespace tetrad::text::jinja
