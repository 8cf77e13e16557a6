#include "parity/report/width.h"

#include "text/utf8.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>

namespace tetrad::parity {

namespace {

// Characters that nobody sees and that change what others look like: direction marks, joiners aside.
bool invisible(char32_t c) {
  return c == 0x200B || c == 0x200E || c == 0x200F || c == 0x061C || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xE0000 && c <= 0xE007F) || c == 0x2028 ||
         c == 0x2029;
}

int width(char32_t c) {
  return std::clamp(utf8proc_charwidth(static_cast<utf8proc_int32_t>(c)), 0, 2);
}

// Must not begin a line.
bool closes(char32_t c) {
  static constexpr std::u32string_view closing = U"，。、；：？！）」』】》〉…,.;:?!)]}”’%";
  return closing.find(c) != std::u32string_view::npos;
}

struct Unit {
  std::string_view bytes;  // a character with its combining marks
  char32_t first = 0;
  int columns = 0;
};

std::vector<Unit> units(std::string_view text) {
  std::vector<Unit> result;
  for (std::size_t at = 0; at < text.size();) {
    const text::Utf8Char c = text::decode_utf8(text, at);
    const int columns = width(c.code_point);
    if (columns == 0 && !result.empty()) {
      result.back().bytes = {result.back().bytes.data(), result.back().bytes.size() + c.length};
    } else {
      result.push_back({text.substr(at, c.length), c.code_point, columns});
    }
    at += c.length;
  }
  return result;
}

}  // namespace

std::string shown(std::string_view raw) {
  const std::string valid = text::lossy_utf8(raw);
  std::string out;
  for (std::size_t at = 0; at < valid.size();) {
    const text::Utf8Char c = text::decode_utf8(valid, at);
    if (c.code_point == '\n') {
      out += "↵";
    } else if (c.code_point == '\t') {
      out += "→";
    } else if (c.code_point < 0x20) {
      text::append_utf8(out, 0x2400 + c.code_point);
    } else if (c.code_point == 0x7F) {
      text::append_utf8(out, 0x2421);
    } else if ((c.code_point >= 0x80 && c.code_point < 0xA0) || invisible(c.code_point)) {
      out += fmt::format("<U+{:04X}>", static_cast<unsigned>(c.code_point));
    } else {
      out.append(valid, at, c.length);
    }
    at += c.length;
  }
  return out;
}

int columns_of(std::string_view text) {
  int columns = 0;
  for (const Unit& unit : units(text)) columns += unit.columns;
  return columns;
}

std::string padded(std::string_view text, int columns, Align align) {
  const std::string room(static_cast<std::size_t>(std::max(0, columns - columns_of(text))), ' ');
  return align == Align::left ? std::string(text) + room : room + std::string(text);
}

std::string cut(std::string_view text, int columns) {
  if (columns_of(text) <= columns) return std::string(text);
  std::string out;
  int used = 0;
  for (const Unit& unit : units(text)) {
    if (used + unit.columns > columns - 1) break;
    out += unit.bytes;
    used += unit.columns;
  }
  return columns > 0 ? out + "…" : std::string();
}

std::vector<std::string> wrapped(std::string_view text, int columns) {
  std::vector<std::string> lines;
  const std::vector<Unit> all = units(text);
  std::size_t begin = 0;
  while (begin < all.size()) {
    while (!lines.empty() && begin < all.size() && all[begin].first == ' ') ++begin;
    if (begin >= all.size()) break;
    int used = 0;
    std::size_t end = begin;
    std::size_t good = begin;  // last place where a line may end
    while (end < all.size() && used + all[end].columns <= columns) {
      used += all[end].columns;
      ++end;
      const bool last = end == all.size();
      const bool wide = all[end - 1].columns == 2 || (!last && all[end].columns == 2);
      if (last || all[end].first == ' ' || (wide && !closes(all[end].first))) good = end;
    }
    if (good == begin) good = std::max(end, begin + 1);
    std::string line;
    for (std::size_t i = begin; i < good; ++i) line += all[i].bytes;
    while (line.ends_with(' ')) line.pop_back();
    lines.push_back(std::move(line));
    begin = good;
  }
  return lines;
}

}  // namespace tetrad::parity
