#include "config/emit.h"

#include <tetrad/base/sha256.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string_view>

#include "config/environment.h"
#include "config/scalar.h"

namespace tetrad::config {
namespace {

using nlohmann::json;

// Conservative: what is surely read back as this text, in block and in flow style.
bool is_safe_plain(std::string_view text) {
  if (text.empty() || looks_boolean(text) || text == "null" || text == "Null" || text == "NULL") return false;
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (!letter(text[0]) && text[0] != '/' && text[0] != '_') return false;
  for (const char c : text) {
    if (!letter(c) && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '.' && c != '/') return false;
  }
  return true;
}

// Characters that are invisible or that some reader takes for a line break.
bool needs_escape(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0xA0) || c == 0xAD || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || c == 0xFEFF || (c >= 0xFFFE && c <= 0xFFFF);
}

// The code point at `i` of well-formed UTF-8, and its length in bytes.
char32_t decode(std::string_view text, std::size_t i, std::size_t& length) {
  const auto byte = [&](std::size_t k) { return static_cast<char32_t>(static_cast<unsigned char>(text[k])); };
  const char32_t first = byte(i);
  if (first < 0x80) {
    length = 1;
    return first;
  }
  length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  char32_t code = first & (0x7Fu >> length);
  for (std::size_t k = 1; k < length; ++k) code = code << 6 | (byte(i + k) & 0x3F);
  return code;
}

std::string double_quoted(std::string_view text) {
  std::string result = "\"";
  std::size_t length = 1;
  for (std::size_t i = 0; i < text.size(); i += length) {
    const char32_t c = decode(text, i, length);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += text[i];
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (c == '\r') {
      result += "\\r";
    } else if (needs_escape(c)) {
      result += c < 0x100 ? fmt::format("\\x{:02x}", static_cast<unsigned>(c))
                          : fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      result += text.substr(i, length);
    }
  }
  return result + "\"";
}

std::string key_text(const std::string& key) {
  return is_safe_plain(key) ? key : double_quoted(key);
}

std::string scalar_text(const Node& node) {
  switch (node.kind()) {
    case Kind::boolean:
      return node.as_bool() ? "true" : "false";
    case Kind::integer:
      return std::to_string(node.as_integer());
    case Kind::number:
      return number_text(node.as_number());
    case Kind::string:
      return is_safe_plain(node.as_string()) ? node.as_string()
                                             : double_quoted(escape_references(node.as_string()));
    default:
      return "null";
  }
}

std::string flow_text(const Node& node) {
  std::string text;
  if (node.kind() == Kind::list) {
    for (const Node& item : node.items()) text += (text.empty() ? "" : ", ") + flow_text(item);
    return "[" + text + "]";
  }
  if (node.is_map()) {
    for (const Entry& entry : node.entries()) {
      text += (text.empty() ? "" : ", ") + key_text(entry.key) + ": " + flow_text(entry.value);
    }
    return "{" + text + "}";
  }
  return scalar_text(node);
}

void emit_map(const Node& map, ShowOrigins origins, int depth, std::string& out) {
  const std::string indentation(static_cast<std::size_t>(depth) * 2, ' ');
  for (const Entry& entry : map.entries()) {
    std::string line = indentation + key_text(entry.key) + ":";
    if (entry.value.is_map() && !entry.value.entries().empty()) {
      out += line + "\n";
      emit_map(entry.value, origins, depth + 1, out);
      continue;
    }
    line += " " + flow_text(entry.value);
    if (origins == ShowOrigins::yes) {
      // A comment runs to the end of the line, so a line break in a file's name must not get into it.
      std::string label = entry.value.origin().label();
      for (char& c : label) {
        if (static_cast<unsigned char>(c) < 0x20) c = '?';
      }
      constexpr std::size_t comment_column = 44;
      line +=
          std::string(line.size() < comment_column ? comment_column - line.size() : 2, ' ') + "# " + label;
    }
    out += line + "\n";
  }
}

}  // namespace

json to_json(const Node& node) {
  switch (node.kind()) {
    case Kind::boolean:
      return node.as_bool();
    case Kind::integer:
      return node.as_integer();
    case Kind::number:
      return node.as_number();
    case Kind::string:
      return node.as_string();
    case Kind::list: {
      json list = json::array();
      for (const Node& item : node.items()) list.push_back(to_json(item));
      return list;
    }
    case Kind::map: {
      json object = json::object();
      for (const Entry& entry : node.entries()) object[entry.key] = to_json(entry.value);
      return object;
    }
    default:
      return nullptr;
  }
}

std::string config_hash(const Node& node) {
  return sha256_hex(to_json(node).dump());
}

std::string to_yaml(const Node& node, ShowOrigins origins) {
  std::string out;
  if (node.is_map()) emit_map(node, origins, 0, out);
  return out;
}

}  // namespace tetrad::config
