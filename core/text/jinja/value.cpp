#include "text/jinja/value.h"

#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <charconv>
#include <cmath>
#include <cstdio>

namespace tetrad::text::jinja {
namespace {

constexpr int kMaxDepth = 200;
constexpr int kMaxComparisons =
    1'000'000;  // a template can build lists that share parts and take exponential time

Value from_json_at(const nlohmann::ordered_json& json, int depth) {
  if (depth > kMaxDepth) throw Error("[text] a template variable is nested more than 200 deep");
  using Type = nlohmann::ordered_json::value_t;
  switch (json.type()) {
    case Type::null:
      return Value();
    case Type::boolean:
      return Value(json.get<bool>());
    case Type::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) break;
      return Value(json.get<std::int64_t>());
    case Type::number_integer:
      return Value(json.get<std::int64_t>());
    case Type::number_float:
      return Value(json.get<double>());
    case Type::string:
      return Value(json.get<std::string>());
    case Type::array: {
      List list;
      for (const auto& item : json) list.push_back(from_json_at(item, depth + 1));
      return Value(std::move(list));
    }
    case Type::object: {
      Dict dict;
      for (const auto& [key, item] : json.items()) dict.emplace_back(key, from_json_at(item, depth + 1));
      return Value(std::move(dict));
    }
    default:
      break;
  }
  throw Error("[text] a template variable holds a value that templates cannot represent: " +
              json.dump().substr(0, 80));
}

// Python's repr of a float: shortest digits, exponent form below 1e-4 and from 1e16.
std::string real_to_string(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  char buffer[64];
  const double magnitude = std::fabs(v);
  const bool exponent = magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e16);
  const auto format = exponent ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, v, format).ptr;
  std::string text(buffer, end);
  if (!exponent && text.find('.') == std::string::npos) text += ".0";
  return text;
}

void append_json_string(std::string& out, const std::string& text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\b':
        out += "\\b";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char escape[8];
          std::snprintf(escape, sizeof escape, "\\u%04x",
                        static_cast<unsigned>(static_cast<unsigned char>(c)));
          out += escape;
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void append_json(std::string& out, const Value& value, int indent, int level) {
  if (out.size() > kMaxText) throw Error("a JSON text of more than " + std::to_string(kMaxText) + " bytes");
  const auto line = [&](int depth) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<std::size_t>(indent) * static_cast<std::size_t>(depth), ' ');
  };
  const std::string comma = indent < 0 ? ", " : ",";
  if (value.is_none()) {
    out += "null";
  } else if (const bool* b = value.boolean()) {
    out += *b ? "true" : "false";
  } else if (value.integer()) {
    out += value.to_string();
  } else if (const double* d = value.real()) {
    if (std::isnan(*d))
      out += "NaN";
    else if (std::isinf(*d))
      out += *d > 0 ? "Infinity" : "-Infinity";
    else
      out += real_to_string(*d);
  } else if (const auto* s = value.string()) {
    append_json_string(out, *s);
  } else if (const auto* list = value.list()) {
    if (list->empty()) {
      out += "[]";
      return;
    }
    out += '[';
    for (std::size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += comma;
      line(level + 1);
      append_json(out, (*list)[i], indent, level + 1);
    }
    line(level);
    out += ']';
  } else if (const auto* dict = value.dict()) {
    if (dict->empty()) {
      out += "{}";
      return;
    }
    out += '{';
    for (std::size_t i = 0; i < dict->size(); ++i) {
      if (i > 0) out += comma;
      line(level + 1);
      append_json_string(out, (*dict)[i].first);
      out += ": ";
      append_json(out, (*dict)[i].second, indent, level + 1);
    }
    line(level);
    out += '}';
  } else {
    throw Error(std::string("a value of type ") + value.type_name() + " has no JSON form");
  }
}

}  // namespace

Value Value::from_json(const nlohmann::ordered_json& json) {
  return from_json_at(json, 0);
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"undefined", "None", "bool", "int",      "float",
                                           "str",       "list", "dict", "namespace"};
  return kNames[data_.index()];
}

double Value::as_double() const {
  if (const bool* b = boolean()) return *b ? 1 : 0;
  if (const auto* i = integer()) return static_cast<double>(*i);
  return *real();
}

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_double() != 0;
  if (const auto* s = string()) return !s->empty();
  if (const auto* l = list()) return !l->empty();
  if (const auto* d = dict()) return !d->empty();
  return true;
}

std::string Value::to_string() const {
  if (is_undefined()) return "";
  if (is_none()) return "None";
  if (const bool* b = boolean()) return *b ? "True" : "False";
  if (const auto* i = integer()) return std::to_string(*i);
  if (const double* d = real()) return real_to_string(*d);
  if (const auto* s = string()) return *s;
  throw Error(std::string("a ") + type_name() + " cannot be printed; use |tojson");
}

const Value* find(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict) {
    if (name == key) return &value;
  }
  return nullptr;
}

void assign(Dict& dict, std::string_view key, Value value) {
  for (auto& [name, held] : dict) {
    if (name == key) {
      held = std::move(value);
      return;
    }
  }
  dict.emplace_back(std::string(key), std::move(value));
}

namespace {

bool equal_within(const Value& a, const Value& b, int& budget) {
  if (--budget < 0) throw Error("a comparison of too large values");
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.integer() && b.integer()) return *a.integer() == *b.integer();
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  if (a.string() && b.string()) return *a.string() == *b.string();
  if (a.list() && b.list()) {
    if (a.list()->size() != b.list()->size()) return false;
    for (std::size_t i = 0; i < a.list()->size(); ++i) {
      if (!equal_within((*a.list())[i], (*b.list())[i], budget)) return false;
    }
    return true;
  }
  if (a.dict() && b.dict()) {
    if (a.dict()->size() != b.dict()->size()) return false;
    for (const auto& [key, value] : *a.dict()) {
      const Value* other = find(*b.dict(), key);
      if (other == nullptr || !equal_within(value, *other, budget)) return false;
    }
    return true;
  }
  return a.name_space() != nullptr && a.name_space() == b.name_space();
}

}  // namespace

bool equal(const Value& a, const Value& b) {
  int budget = kMaxComparisons;
  return equal_within(a, b, budget);
}

bool less(const Value& a, const Value& b) {
  if (a.integer() && b.integer()) return *a.integer() < *b.integer();
  if (a.is_number() && b.is_number()) return a.as_double() < b.as_double();
  if (a.string() && b.string()) return *a.string() < *b.string();  // byte order of UTF-8 is code point order
  throw Error(std::string("cannot order ") + a.type_name() + " and " + b.type_name());
}

std::string to_json(const Value& value, int indent) {
  std::string out;
  append_json(out, value, indent, 0);
  return out;
}

std::size_t character_count(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Char c = decode_utf8(text, at);
    out.emplace_back(text.substr(at, c.length));
    at += c.length;
  }
  return out;
}

bool is_python_space(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

}  // namespace tetrad::text::jinja
