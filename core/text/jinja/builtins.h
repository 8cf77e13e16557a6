// Filters, tests and methods of the supported subset. Each takes its subject and arguments already evaluated
// and throws Error (without a line; the evaluator adds it) when an argument does not fit.
#pragma once

#include "text/jinja/value.h"

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::text::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

bool is_filter(std::string_view name);
bool is_test(std::string_view name);
bool is_method(std::string_view name);
bool is_function(std::string_view name);

Value apply_filter(const std::string& name, const Value& subject, const Arguments& arguments);
bool apply_test(const std::string& name, const Value& subject, const Arguments& arguments);
Value call_method(const Value& subject, const std::string& name, const Arguments& arguments);
// range, dict, namespace, raise_exception, strftime_now (local time of `now`).
Value call_function(const std::string& name, const Arguments& arguments, std::time_t now);

// subject.name: a dict's value or a namespace's attribute; undefined when there is none. Error on undefined.
Value attribute_of(const Value& subject, const std::string& name);
// subject[key] for dict, list and str; undefined when there is none.
Value item_of(const Value& subject, const Value& key);
Value slice_of(const Value& subject, const Value& start, const Value& stop, const Value& step);
bool contains(const Value& container, const Value& element);
// What a for loop goes over: list elements, dict keys, a string's characters, nothing for undefined.
List elements_of(const Value& subject);

}  // namespace tetrad::text::jinja
