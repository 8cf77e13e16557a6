// Filters and tests, with Jinja's results.
#include "text/jinja/builtins.h"
#include "text/jinja/strings.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

namespace tetrad::text::jinja {
namespace {

// The arguments of one call, read by position or keyword; done() refuses what was not read.
class Reader {
 public:
  Reader(const std::string& filter, const Arguments& arguments) : filter_(filter), arguments_(arguments) {}

  const Value* take(const char* keyword) {
    const Value* found = nullptr;
    if (position_ < arguments_.positional.size()) found = &arguments_.positional[position_++];
    for (const auto& [name, value] : arguments_.keywords) {
      if (name != keyword) continue;
      if (found) throw Error("|" + filter_ + " has '" + keyword + "' twice");
      found = &value;
      ++used_keywords_;
    }
    return found;
  }

  const Value* keyword_only(const char* keyword) {
    for (const auto& [name, value] : arguments_.keywords) {
      if (name == keyword) {
        ++used_keywords_;
        return &value;
      }
    }
    return nullptr;
  }

  Arguments rest() {
    Arguments out;
    out.positional.assign(arguments_.positional.begin() + static_cast<std::ptrdiff_t>(position_),
                          arguments_.positional.end());
    position_ = arguments_.positional.size();
    return out;
  }

  void done() const {
    if (position_ < arguments_.positional.size() || used_keywords_ != arguments_.keywords.size()) {
      throw Error("arguments of |" + filter_ + " that are not supported");
    }
  }

 private:
  const std::string& filter_;
  const Arguments& arguments_;
  std::size_t position_ = 0, used_keywords_ = 0;
};

const std::string& text_argument(const Value* value, const char* what) {
  if (value == nullptr || !value->string()) throw Error(std::string(what) + " must be a string");
  return *value->string();
}

Value trim_filter(const Value& subject, Reader& reader) {
  const Value* chars = reader.take("chars");
  std::optional<std::string> set;
  if (chars && !chars->is_none()) set = text_argument(chars, "|trim(chars)");
  return strip(subject.to_string(), set, true, true);
}

Value tojson_filter(const Value& subject, Reader& reader) {
  const Value* ascii = reader.take("ensure_ascii");
  if (ascii && ascii->truthy()) throw Error("|tojson(ensure_ascii=true) is not supported");
  const Value* indent = reader.take("indent");
  if (!indent || indent->is_none()) return to_json(subject, -1);
  if (!indent->integer() || *indent->integer() < 0 || *indent->integer() > 64)
    throw Error("|tojson with a wrong indent");
  return to_json(subject, static_cast<int>(*indent->integer()));
}

Value length_filter(const Value& subject, Reader&) {
  std::size_t count = 0;
  if (const auto* text = subject.string())
    count = character_count(*text);
  else if (const auto* list = subject.list())
    count = list->size();
  else if (const auto* dict = subject.dict())
    count = dict->size();
  else if (!subject.is_undefined())
    throw Error(std::string("|length of a value of type ") + subject.type_name());
  return static_cast<std::int64_t>(count);
}

Value default_filter(const Value& subject, Reader& reader) {
  const Value* fallback = reader.take("default_value");
  const Value* boolean = reader.take("boolean");
  const bool use = subject.is_undefined() || (boolean && boolean->truthy() && !subject.truthy());
  return !use ? subject : fallback ? *fallback : Value("");
}

template <bool First>
Value end_filter(const Value& subject, Reader&) {
  const List list = elements_of(subject);
  if (list.empty()) return Undefined{First ? "the first of an empty list" : "the last of an empty list"};
  return First ? list.front() : list.back();
}

Value join_filter(const Value& subject, Reader& reader) {
  const Value* separator = reader.take("d");
  const Value* attribute = reader.take("attribute");
  std::string out;
  bool first = true;
  for (const Value& element : elements_of(subject)) {
    if (!first && separator) out += separator->to_string();
    first = false;
    out += attribute ? attribute_of(element, text_argument(attribute, "|join(attribute)")).to_string()
                     : element.to_string();
    if (out.size() > kMaxText) throw Error("|join gives too long a text");
  }
  return out;
}

Value lower_filter(const Value& subject, Reader&) {
  return lower(subject.to_string());
}
Value upper_filter(const Value& subject, Reader&) {
  return upper(subject.to_string());
}
Value string_filter(const Value& subject, Reader&) {
  return subject.to_string();
}
Value list_filter(const Value& subject, Reader&) {
  return elements_of(subject);
}

Value capitalize_filter(const Value& subject, Reader&) {
  std::string text = lower(subject.to_string());
  if (!text.empty()) text[0] = upper(text.substr(0, 1))[0];
  return text;
}

Value int_filter(const Value& subject, Reader& reader) {
  const Value* fallback = reader.take("default");
  if (subject.integer()) return subject;
  if (subject.is_number()) {
    const double number = std::trunc(subject.as_double());
    if (!(std::fabs(number) < 9.2e18)) throw Error("|int of a number beyond 64 bits");
    return static_cast<std::int64_t>(number);
  }
  if (const auto* text = subject.string()) {
    const std::string digits = strip(*text, std::nullopt, true, true);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error == std::errc{} && end == digits.data() + digits.size()) return number;
    if (digits.find_first_of("0123456789") != std::string::npos)
      throw Error("|int of '" + digits + "' is not supported");
  }
  return fallback ? *fallback : Value(std::int64_t{0});
}

Value replace_filter(const Value& subject, Reader& reader) {
  const Value* old = reader.take("old");
  const Value* fresh = reader.take("new");
  return replace(subject.to_string(), text_argument(old, "|replace"), text_argument(fresh, "|replace"));
}

Value items_filter(const Value& subject, Reader&) {
  if (subject.is_undefined()) return List{};
  return call_method(subject, "items", {});
}

Value reverse_filter(const Value& subject, Reader&) {
  return slice_of(subject, Value(), Value(), Value(std::int64_t{-1}));
}

Value abs_filter(const Value& subject, Reader&) {
  if (const auto* i = subject.integer(); i && *i != INT64_MIN) return std::abs(*i);
  if (const auto* d = subject.real()) return std::fabs(*d);
  throw Error(std::string("|abs of a value of type ") + subject.type_name());
}

Value map_filter(const Value& subject, Reader& reader) {
  List out;
  if (const Value* attribute = reader.keyword_only("attribute")) {
    const std::string& name = text_argument(attribute, "|map(attribute)");
    if (name.find('.') != std::string::npos) throw Error("|map over a dotted attribute is not supported");
    const Value* fallback = reader.keyword_only("default");
    for (const Value& element : elements_of(subject)) {
      Value value = attribute_of(element, name);
      out.push_back(value.is_undefined() && fallback ? *fallback : value);
    }
    return out;
  }
  const Value* first = reader.take("filter");
  const std::string name = text_argument(first, "|map's filter");
  if (!is_filter(name)) throw Error("the filter '" + name + "' is not supported");
  const Arguments rest = reader.rest();
  for (const Value& element : elements_of(subject)) out.push_back(apply_filter(name, element, rest));
  return out;
}

// select, reject, selectattr, rejectattr
template <bool Keep, bool ByAttribute>
Value select_filter(const Value& subject, Reader& reader) {
  std::string attribute;
  if (ByAttribute) attribute = text_argument(reader.take("attribute"), "|selectattr's attribute");
  if (attribute.find('.') != std::string::npos)
    throw Error("|selectattr over a dotted attribute is not supported");
  const Value* test = reader.take("test");
  const Arguments rest = reader.rest();
  if (test && !(test->string() && is_test(*test->string())))
    throw Error("a test in |select that is not supported");
  List out;
  for (const Value& element : elements_of(subject)) {
    const Value value = ByAttribute ? attribute_of(element, attribute) : element;
    const bool passes = test ? apply_test(*test->string(), value, rest) : value.truthy();
    if (passes == Keep) out.push_back(element);
  }
  return out;
}

using Filter = Value (*)(const Value&, Reader&);

const std::map<std::string, Filter, std::less<>>& filters() {
  static const std::map<std::string, Filter, std::less<>> table = {
      {"trim", trim_filter},
      {"tojson", tojson_filter},
      {"length", length_filter},
      {"count", length_filter},
      {"default", default_filter},
      {"d", default_filter},
      {"first", end_filter<true>},
      {"last", end_filter<false>},
      {"join", join_filter},
      {"lower", lower_filter},
      {"upper", upper_filter},
      {"string", string_filter},
      {"list", list_filter},
      {"capitalize", capitalize_filter},
      {"int", int_filter},
      {"replace", replace_filter},
      {"items", items_filter},
      {"reverse", reverse_filter},
      {"abs", abs_filter},
      {"map", map_filter},
      {"select", select_filter<true, false>},
      {"reject", select_filter<false, false>},
      {"selectattr", select_filter<true, true>},
      {"rejectattr", select_filter<false, true>}};
  return table;
}

std::int64_t modulo(const Value& value, const Value& by) {
  if (!value.integer() || !by.integer() || *by.integer() == 0)
    throw Error("a divisibility test of values that are not integers");
  return *by.integer() == -1 ? 0 : *value.integer() % *by.integer();
}

using Test = bool (*)(const Value&, const Value&);
struct TestEntry {
  Test test;
  std::size_t arguments;
};

const std::map<std::string, TestEntry, std::less<>>& tests() {
  using V = const Value&;
  static const TestEntry eq = {[](V a, V b) { return equal(a, b); }, 1};
  static const TestEntry ne = {[](V a, V b) { return !equal(a, b); }, 1};
  static const std::map<std::string, TestEntry, std::less<>> table = {
      {"defined", {[](V a, V) { return !a.is_undefined(); }, 0}},
      {"undefined", {[](V a, V) { return a.is_undefined(); }, 0}},
      {"none", {[](V a, V) { return a.is_none(); }, 0}},
      {"string", {[](V a, V) { return a.string() != nullptr; }, 0}},
      {"boolean", {[](V a, V) { return a.boolean() != nullptr; }, 0}},
      {"true", {[](V a, V) { return a.boolean() && *a.boolean(); }, 0}},
      {"false", {[](V a, V) { return a.boolean() && !*a.boolean(); }, 0}},
      {"integer", {[](V a, V) { return a.integer() != nullptr; }, 0}},
      {"float", {[](V a, V) { return a.real() != nullptr; }, 0}},
      {"number", {[](V a, V) { return a.is_number(); }, 0}},
      {"mapping", {[](V a, V) { return a.dict() != nullptr; }, 0}},
      {"sequence", {[](V a, V) { return a.string() || a.list() || a.dict() || a.is_undefined(); }, 0}},
      {"iterable", {[](V a, V) { return a.string() || a.list() || a.dict() || a.is_undefined(); }, 0}},
      {"even", {[](V a, V) { return modulo(a, Value(std::int64_t{2})) == 0; }, 0}},
      {"odd", {[](V a, V) { return modulo(a, Value(std::int64_t{2})) != 0; }, 0}},
      {"divisibleby", {[](V a, V b) { return modulo(a, b) == 0; }, 1}},
      {"in", {[](V a, V b) { return contains(b, a); }, 1}},
      {"eq", eq},
      {"equalto", eq},
      {"ne", ne},
      {"lt", {[](V a, V b) { return less(a, b); }, 1}},
      {"gt", {[](V a, V b) { return less(b, a); }, 1}},
      {"le", {[](V a, V b) { return !less(b, a); }, 1}},
      {"ge", {[](V a, V b) { return !less(a, b); }, 1}}};
  return table;
}

}  // namespace

bool is_filter(std::string_view name) {
  return filters().contains(name);
}
bool is_test(std::string_view name) {
  return tests().contains(name);
}

Value apply_filter(const std::string& name, const Value& subject, const Arguments& arguments) {
  Reader reader(name, arguments);
  Value out = filters().find(name)->second(subject, reader);
  reader.done();
  return out;
}

bool apply_test(const std::string& name, const Value& subject, const Arguments& arguments) {
  const TestEntry& entry = tests().find(name)->second;
  if (arguments.positional.size() != entry.arguments || !arguments.keywords.empty()) {
    throw Error("the test 'is " + name + "' takes " + std::to_string(entry.arguments) + " arguments");
  }
  return entry.test(subject, entry.arguments > 0 ? arguments.positional[0] : Value());
}

}  // namespace tetrad::text::jinja
