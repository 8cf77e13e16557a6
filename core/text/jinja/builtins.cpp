#include "text/jinja/builtins.h"

#include "text/utf8.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <set>

namespace tetrad::text::jinja {
namespace {

using Names = std::set<std::string, std::less<>>;

const Names kDictAttributes = {"clear", "copy",    "fromkeys",   "get",    "items", "keys",
                               "pop",   "popitem", "setdefault", "update", "values"};
const Names kFunctions = {"range", "dict", "namespace", "raise_exception", "strftime_now"};
constexpr std::int64_t kMaxRange = 1'000'000;

[[noreturn]] void wrong_type(const std::string& what, const Value& value) {
  throw Error(what + " of a value of type " + value.type_name());
}

// list[i] and str[i] with Python's negative indices; -1 when out of range.
std::int64_t index_in(std::int64_t index, std::size_t size) {
  const auto count = static_cast<std::int64_t>(size);
  if (index < 0) index += count;
  return index >= 0 && index < count ? index : -1;
}

// start, stop, step as Python's slice.indices(size) gives them.
std::vector<std::size_t> slice_indices(std::size_t size, const Value& start, const Value& stop,
                                       const Value& step) {
  const auto number = [](const Value& v) {
    if (!v.integer()) wrong_type("a slice bound", v);
    return *v.integer();
  };
  const auto count = static_cast<std::int64_t>(size);
  const std::int64_t by = step.is_none() ? 1 : number(step);
  if (by == 0) throw Error("a slice step of zero");
  const std::int64_t low = by > 0 ? 0 : -1, high = by > 0 ? count : count - 1;
  const auto bound = [&](const Value& v, std::int64_t fallback) {
    if (v.is_none()) return fallback;
    std::int64_t i = number(v);
    if (i < 0) i = i < -count ? low : i + count;
    return std::clamp(i, low, high);
  };
  const std::int64_t from = bound(start, by > 0 ? low : high), to = bound(stop, by > 0 ? high : low);
  std::vector<std::size_t> out;
  if (by > 0) {
    for (std::int64_t i = from; i < to; i += std::min(by, count)) out.push_back(static_cast<std::size_t>(i));
  } else {
    for (std::int64_t i = from; i > to; i += std::max(by, -count - 1))
      out.push_back(static_cast<std::size_t>(i));
  }
  return out;
}

Value make_range(const Arguments& arguments) {
  std::int64_t bounds[3] = {0, 0, 1};
  const auto& given = arguments.positional;
  if (given.empty() || given.size() > 3 || !arguments.keywords.empty())
    throw Error("range() takes 1 to 3 numbers");
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (!given[i].integer()) wrong_type("range()", given[i]);
    bounds[given.size() == 1 ? 1 : i] = *given[i].integer();
    if (std::abs(*given[i].integer()) > kMaxRange) throw Error("range() beyond " + std::to_string(kMaxRange));
  }
  if (bounds[2] == 0) throw Error("range() with a step of zero");
  List list;
  for (std::int64_t i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1]; i += bounds[2])
    list.emplace_back(i);
  return list;
}

std::string local_time(const std::string& format, std::time_t now) {
  if (format.empty()) return "";
  std::tm parts{};
  localtime_r(&now, &parts);
  std::string out(format.size() * 8 + 256, '\0');
  const std::size_t length = std::strftime(out.data(), out.size(), format.c_str(), &parts);
  if (length == 0) throw Error("strftime_now('" + format + "') gives no text");
  out.resize(length);
  return out;
}

}  // namespace

bool is_function(std::string_view name) {
  return kFunctions.contains(name);
}

Value call_function(const std::string& name, const Arguments& arguments, std::time_t now) {
  if (name == "range") return make_range(arguments);
  if (name == "namespace" || name == "dict") {
    if (!arguments.positional.empty()) throw Error(name + "() takes keyword arguments only");
    Dict values;
    for (const auto& [key, value] : arguments.keywords) assign(values, key, value);
    if (name == "dict") return values;
    for (const auto& [key, value] : values) {
      if (key.starts_with("_")) throw Error("namespace() attribute '" + key + "' starts with an underscore");
    }
    return std::make_shared<Namespace>(Namespace{std::move(values)});
  }
  if (arguments.positional.size() != 1 || !arguments.keywords.empty())
    throw Error(name + "() takes one argument");
  const Value& argument = arguments.positional[0];
  if (name == "raise_exception") throw Error("the template refuses the messages: " + argument.to_string());
  if (!argument.string()) wrong_type(name + "()", argument);
  return local_time(*argument.string(), now);
}

Value attribute_of(const Value& subject, const std::string& name) {
  if (const auto* undefined = subject.undefined()) {
    throw Error("'" + undefined->name + "' is undefined, so it has no attribute '" + name + "'");
  }
  if (const auto* dict = subject.dict()) {
    if (kDictAttributes.contains(name)) throw Error("the method '." + name + "' is used without calling it");
    if (const Value* value = find(*dict, name)) return *value;
  } else if (const auto* ns = subject.name_space()) {
    if (const Value* value = find(ns->attributes, name)) return *value;
  } else if ((subject.string() || subject.list()) && is_method(name)) {
    throw Error("the method '." + name + "' is used without calling it");
  }
  return Undefined{name};
}

Value item_of(const Value& subject, const Value& key) {
  if (const auto* undefined = subject.undefined())
    throw Error("'" + undefined->name + "' is undefined, so it has no items");
  const std::string shown = key.string() ? *key.string() : key.integer() ? key.to_string() : key.type_name();
  if (subject.dict()) {
    if (key.string()) {
      if (const Value* value = find(*subject.dict(), *key.string())) return *value;
    }
    return Undefined{shown};
  }
  if (key.string() && subject.name_space()) return attribute_of(subject, *key.string());
  if (!key.integer()) return Undefined{shown};
  if (const auto* list = subject.list()) {
    const auto i = index_in(*key.integer(), list->size());
    return i < 0 ? Value(Undefined{shown}) : (*list)[static_cast<std::size_t>(i)];
  }
  if (const auto* text = subject.string()) {
    const auto chars = characters(*text);
    const auto i = index_in(*key.integer(), chars.size());
    return i < 0 ? Value(Undefined{shown}) : Value(chars[static_cast<std::size_t>(i)]);
  }
  return Undefined{shown};
}

Value slice_of(const Value& subject, const Value& start, const Value& stop, const Value& step) {
  if (const auto* list = subject.list()) {
    List out;
    for (const std::size_t i : slice_indices(list->size(), start, stop, step)) out.push_back((*list)[i]);
    return out;
  }
  if (const auto* text = subject.string()) {
    const auto chars = characters(*text);
    std::string out;
    for (const std::size_t i : slice_indices(chars.size(), start, stop, step)) out += chars[i];
    return out;
  }
  wrong_type("a slice", subject);
}

bool contains(const Value& container, const Value& element) {
  if (const auto* text = container.string()) {
    if (!element.string()) wrong_type("'in <str>'", element);
    return text->find(*element.string()) != std::string::npos;
  }
  if (const auto* list = container.list()) {
    return std::any_of(list->begin(), list->end(), [&](const Value& v) { return equal(v, element); });
  }
  if (const auto* dict = container.dict())
    return element.string() && find(*dict, *element.string()) != nullptr;
  if (container.is_undefined()) return false;
  wrong_type("'in'", container);
}

List elements_of(const Value& subject) {
  if (const auto* list = subject.list()) return *list;
  List out;
  if (const auto* dict = subject.dict()) {
    for (const auto& [key, value] : *dict) out.emplace_back(key);
  } else if (const auto* text = subject.string()) {
    for (auto& c : characters(*text)) out.emplace_back(std::move(c));
  } else if (!subject.is_undefined()) {
    wrong_type("a loop over the elements", subject);
  }
  return out;
}

}  // namespace tetrad::text::jinja
