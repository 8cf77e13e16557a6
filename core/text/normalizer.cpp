#include "text/normalizer.h"

#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <utf8proc.h>

#include <algorithm>
#include <vector>

namespace tetrad::text {
namespace {

// Sorts each run of combining marks by combining class, keeping equals in order. utf8proc's own decomposition
// of a whole string does this by swapping neighbours, which is quadratic on a long run.
void canonical_order(std::vector<utf8proc_int32_t>& chars) {
  const auto combining_class = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (std::size_t i = 0; i < chars.size();) {
    if (combining_class(chars[i]) == 0) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < chars.size() && combining_class(chars[end]) != 0) ++end;
    std::stable_sort(chars.begin() + static_cast<std::ptrdiff_t>(i),
                     chars.begin() + static_cast<std::ptrdiff_t>(end),
                     [&](auto a, auto b) { return combining_class(a) < combining_class(b); });
    i = end;
  }
}

}  // namespace

std::string normalize_nfc(std::string_view text) {
  // Nothing below U+0300 composes or decomposes with its neighbours under NFC.
  bool plain = true;
  for (std::size_t at = 0; at < text.size() && plain;) {
    const Utf8Char c = decode_utf8(text, at);
    plain = c.code_point < 0x300;
    at += c.length;
  }
  if (plain) return std::string(text);

  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  constexpr auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE);
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Char c = decode_utf8(text, at);
    if (c.status != Utf8Status::valid) throw Error("[text] NFC of text that is not valid UTF-8");
    utf8proc_int32_t parts[32];
    int boundary = UTF8PROC_BOUNDCLASS_START;
    const auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.code_point), parts, 32, options, &boundary);
    if (count < 0 || count > 32) {
      chars.push_back(static_cast<utf8proc_int32_t>(c.code_point));
    } else {
      chars.insert(chars.end(), parts, parts + count);
    }
    at += c.length;
  }
  canonical_order(chars);
  constexpr auto compose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const auto length =
      utf8proc_normalize_utf32(chars.data(), static_cast<utf8proc_ssize_t>(chars.size()), compose);
  if (length < 0) throw Error(std::string("[text] NFC failed: ") + utf8proc_errmsg(length));
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < length; ++i)
    append_utf8(out, static_cast<char32_t>(chars[static_cast<std::size_t>(i)]));
  return out;
}

Normalizer::Normalizer(const JsonView& json) {
  if (json.is_null()) return;
  const std::string type = json.at("type").string();
  if (type == "NFC") {
    json.expect_keys({"type"});
    nfc_ = true;
  } else if (type == "Sequence") {
    json.expect_keys({"type", "normalizers"});
    const JsonView list = json.at("normalizers");
    for (std::size_t i = 0; i < list.array_size(); ++i) nfc_ |= Normalizer(list.at(i)).nfc_;
  } else {
    json.at("type").fail("is '" + type + "'; supported normalizers: NFC, Sequence");
  }
}

}  // namespace tetrad::text
