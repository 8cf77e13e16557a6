// Methods of str and dict, with Python's results.
#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"

#include <tetrad/base/error.h>

#include <map>

namespace tetrad::text::jinja {
namespace {

using Method = Value (*)(const Value&, const std::vector<Value>&);

const std::string& text_of(const Value& value, const char* what) {
  if (!value.string()) throw Error(std::string(what) + " of a value of type " + value.type_name());
  return *value.string();
}

std::optional<std::string> optional_text(const std::vector<Value>& arguments) {
  if (arguments.empty() || arguments[0].is_none()) return std::nullopt;
  return text_of(arguments[0], "an argument");
}

template <bool Left, bool Right>
Value strip_method(const Value& subject, const std::vector<Value>& arguments) {
  return strip(text_of(subject, "strip()"), optional_text(arguments), Left, Right);
}

Value split_method(const Value& subject, const std::vector<Value>& arguments) {
  std::int64_t limit = -1;
  if (arguments.size() > 1) {
    if (!arguments[1].integer()) throw Error("split() with a limit that is not a number");
    limit = *arguments[1].integer();
  }
  List out;
  for (auto& part : split(text_of(subject, "split()"), optional_text(arguments), limit))
    out.emplace_back(std::move(part));
  return out;
}

// startswith and endswith take one string or several.
template <bool AtStart>
Value edge_method(const Value& subject, const std::vector<Value>& arguments) {
  const std::string& text = text_of(subject, AtStart ? "startswith()" : "endswith()");
  if (arguments.size() != 1) throw Error("startswith() and endswith() take one argument");
  const List options = arguments[0].list() ? *arguments[0].list() : List{arguments[0]};
  for (const Value& option : options) {
    const std::string& edge = text_of(option, "an argument");
    if (AtStart ? text.starts_with(edge) : text.ends_with(edge)) return true;
  }
  return false;
}

Value replace_method(const Value& subject, const std::vector<Value>& arguments) {
  if (arguments.size() != 2) throw Error("replace() takes two strings");
  return replace(text_of(subject, "replace()"), text_of(arguments[0], "replace()"),
                 text_of(arguments[1], "replace()"));
}

Value lower_method(const Value& subject, const std::vector<Value>&) {
  return lower(text_of(subject, "lower()"));
}
Value upper_method(const Value& subject, const std::vector<Value>&) {
  return upper(text_of(subject, "upper()"));
}

Value find_method(const Value& subject, const std::vector<Value>& arguments) {
  if (arguments.size() != 1) throw Error("find() takes one string");
  const std::string& text = text_of(subject, "find()");
  const auto at = text.find(text_of(arguments[0], "find()"));
  if (at == std::string::npos) return std::int64_t{-1};
  return static_cast<std::int64_t>(character_count(std::string_view(text).substr(0, at)));
}

Value join_method(const Value& subject, const std::vector<Value>& arguments) {
  if (arguments.size() != 1) throw Error("join() takes one list");
  std::string out;
  bool first = true;
  for (const Value& part : elements_of(arguments[0])) {
    if (!first) out += text_of(subject, "join()");
    first = false;
    out += text_of(part, "join()");
    if (out.size() > kMaxText) throw Error("join() gives too long a text");
  }
  return out;
}

const Dict& dict_of(const Value& value, const char* what) {
  if (!value.dict()) throw Error(std::string(what) + " of a value of type " + value.type_name());
  return *value.dict();
}

Value items_method(const Value& subject, const std::vector<Value>&) {
  List out;
  for (const auto& [key, value] : dict_of(subject, "items()")) out.emplace_back(List{Value(key), value});
  return out;
}

Value keys_method(const Value& subject, const std::vector<Value>&) {
  List out;
  for (const auto& entry : dict_of(subject, "keys()")) out.emplace_back(entry.first);
  return out;
}

Value values_method(const Value& subject, const std::vector<Value>&) {
  List out;
  for (const auto& entry : dict_of(subject, "values()")) out.push_back(entry.second);
  return out;
}

Value get_method(const Value& subject, const std::vector<Value>& arguments) {
  if (arguments.empty() || arguments.size() > 2) throw Error("get() takes a key and a default");
  if (arguments[0].string()) {
    if (const Value* found = find(dict_of(subject, "get()"), *arguments[0].string())) return *found;
  }
  return arguments.size() > 1 ? arguments[1] : Value();
}

struct Entry {
  Method method;
  std::size_t max_arguments;
};

const std::map<std::string, Entry, std::less<>>& methods() {
  static const std::map<std::string, Entry, std::less<>> table = {{"strip", {strip_method<true, true>, 1}},
                                                                  {"lstrip", {strip_method<true, false>, 1}},
                                                                  {"rstrip", {strip_method<false, true>, 1}},
                                                                  {"split", {split_method, 2}},
                                                                  {"startswith", {edge_method<true>, 1}},
                                                                  {"endswith", {edge_method<false>, 1}},
                                                                  {"replace", {replace_method, 2}},
                                                                  {"lower", {lower_method, 0}},
                                                                  {"upper", {upper_method, 0}},
                                                                  {"find", {find_method, 1}},
                                                                  {"join", {join_method, 1}},
                                                                  {"items", {items_method, 0}},
                                                                  {"keys", {keys_method, 0}},
                                                                  {"values", {values_method, 0}},
                                                                  {"get", {get_method, 2}}};
  return table;
}

}  // namespace

bool is_method(std::string_view name) {
  return methods().contains(name);
}

Value call_method(const Value& subject, const std::string& name, const Arguments& arguments) {
  if (const auto* undefined = subject.undefined()) {
    throw Error("'" + undefined->name + "' is undefined, so it has no method '." + name + "()'");
  }
  const Entry& entry = methods().find(name)->second;
  if (!arguments.keywords.empty() || arguments.positional.size() > entry.max_arguments) {
    throw Error("arguments of '." + name + "()' that are not supported");
  }
  return entry.method(subject, arguments.positional);
}

}  // namespace tetrad::text::jinja
