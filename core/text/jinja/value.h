// Values of the template language: what Python calls None, bool, int, float, str, list and dict, plus Jinja's
// undefined and namespace objects. Values are immutable and cheap to copy, except a Namespace, which is
// shared and assignable. The operations follow Python (truth, equality, str(), json.dumps), because templates
// are written against it; what would need more of Python than is here (the repr of a list, integers beyond 64
// bits) is an Error.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tetrad::text::jinja {

constexpr std::size_t kMaxText = std::size_t{64} << 20;  // bytes that one string of a template may have

class Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<std::string, Value>>;  // insertion order, keys unique

struct Undefined {
  std::string name;  // how the template spelled it, for errors
};
struct None {};
struct Namespace;

class Value {
 public:
  Value() : data_(None{}) {}
  Value(Undefined undefined) : data_(std::move(undefined)) {}
  Value(bool v) : data_(v) {}
  Value(std::int64_t v) : data_(v) {}
  Value(double v) : data_(v) {}
  Value(std::string v) : data_(std::make_shared<const std::string>(std::move(v))) {}
  Value(const char* v) : Value(std::string(v)) {}
  Value(List v) : data_(std::make_shared<const List>(std::move(v))) {}
  Value(Dict v) : data_(std::make_shared<const Dict>(std::move(v))) {}
  Value(std::shared_ptr<Namespace> v) : data_(std::move(v)) {}
  // Throws Error for what a template cannot hold (unsigned integers over INT64_MAX, binary).
  static Value from_json(const nlohmann::ordered_json& json);

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  const bool* boolean() const { return std::get_if<bool>(&data_); }
  const std::int64_t* integer() const { return std::get_if<std::int64_t>(&data_); }
  const double* real() const { return std::get_if<double>(&data_); }
  // Null when the value is of another type.
  const std::string* string() const { return pointee<const std::string>(); }
  const List* list() const { return pointee<const List>(); }
  const Dict* dict() const { return pointee<const Dict>(); }
  Namespace* name_space() const { return pointee<Namespace>(); }
  const Undefined* undefined() const { return std::get_if<Undefined>(&data_); }
  bool is_number() const { return boolean() || integer() || real(); }

  // "None", "str", "list" ... as Python names the type.
  const char* type_name() const;
  bool truthy() const;
  // What {{ value }} prints.
  std::string to_string() const;
  // The value as a number, bool included; only when is_number().
  double as_double() const;

 private:
  template <class T>
  T* pointee() const {
    const auto* held = std::get_if<std::shared_ptr<T>>(&data_);
    return held ? held->get() : nullptr;
  }

  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const List>, std::shared_ptr<const Dict>, std::shared_ptr<Namespace>>
      data_;
};

struct Namespace {
  Dict attributes;
};

const Value* find(const Dict& dict, std::string_view key);
void assign(Dict& dict, std::string_view key, Value value);

bool equal(const Value& a, const Value& b);
// Python's <: numbers, strings, or lists of these; Error for other pairs.
bool less(const Value& a, const Value& b);

// json.dumps(value, ensure_ascii=False, indent=indent); indent < 0 means None.
std::string to_json(const Value& value, int indent);

// Number of characters of valid UTF-8.
std::size_t character_count(std::string_view text);
// The characters of a string, one string each.
std::vector<std::string> characters(std::string_view text);
// What Python's str.isspace() and \s accept.
bool is_python_space(char32_t c);

}  // namespace tetrad::text::jinja
