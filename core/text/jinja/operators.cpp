#include "text/jinja/operators.h"

#include "text/jinja/builtins.h"

#include <tetrad/base/error.h>

#include <cmath>

namespace tetrad::text::jinja {
namespace {

[[noreturn]] void unsupported(const std::string& op, const Value& left, const Value& right) {
  const Undefined* undefined = left.undefined() ? left.undefined() : right.undefined();
  if (undefined) throw Error("'" + undefined->name + "' is undefined");
  throw Error("'" + op + "' of " + left.type_name() + " and " + right.type_name() + " is not supported");
}

std::int64_t as_int(const Value& v) {
  return v.boolean() ? *v.boolean() : *v.integer();
}

Value integer_result(const std::string& op, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &out);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &out);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &out);
  } else {
    if (b == 0) throw Error("division by zero");
    if (op == "/") return static_cast<double>(a) / static_cast<double>(b);
    overflow = a == INT64_MIN && b == -1;
    if (!overflow) {
      const std::int64_t rest = a % b;
      const bool toward_floor = rest != 0 && (rest < 0) != (b < 0);
      out = op == "//" ? a / b - (toward_floor ? 1 : 0) : rest + (toward_floor ? b : 0);
    }
  }
  if (overflow) throw Error("an integer beyond 64 bits");
  return out;
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) throw Error("a negative power is not supported");
  std::int64_t out = 1;
  for (std::int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(out, base, &out)) throw Error("an integer beyond 64 bits");
    if (i > 64 && (out == 0 || out == 1)) break;
    if (base == -1) return std::int64_t{exponent % 2 == 0 ? 1 : -1};
  }
  return out;
}

Value real_result(const std::string& op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") return std::pow(a, b);
  if (b == 0) throw Error("division by zero");
  if (op == "/") return a / b;
  if (op == "//") return std::floor(a / b);
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

std::string joined(const std::string& a, const std::string& b) {
  if (a.size() + b.size() > kMaxText)
    throw Error("a text of more than " + std::to_string(kMaxText) + " bytes");
  return a + b;
}

Value repeated(const std::string& text, std::int64_t times) {
  std::string out;
  if (times > 0 && text.size() > kMaxText / static_cast<std::size_t>(times)) {
    throw Error("a text of more than " + std::to_string(kMaxText) + " bytes");
  }
  for (std::int64_t i = 0; i < times && !text.empty(); ++i) out += text;
  return out;
}

}  // namespace

Value unary(const std::string& op, const Value& value) {
  if (op == "not") return !value.truthy();
  if (value.integer() || value.boolean())
    return op == "-" ? integer_result("-", 0, as_int(value)) : Value(as_int(value));
  if (value.real()) return op == "-" ? -*value.real() : *value.real();
  unsupported(op, value, value);
}

Value binary(const std::string& op, const Value& left, const Value& right) {
  if (op == "~") return joined(left.to_string(), right.to_string());
  if (left.is_number() && right.is_number()) {
    if (left.real() || right.real()) return real_result(op, left.as_double(), right.as_double());
    return op == "**" ? integer_power(as_int(left), as_int(right))
                      : integer_result(op, as_int(left), as_int(right));
  }
  if (op == "+" && left.string() && right.string()) return joined(*left.string(), *right.string());
  if (op == "+" && left.list() && right.list()) {
    if (left.list()->size() + right.list()->size() > 1'000'000)
      throw Error("a list of more than 1000000 elements");
    List out = *left.list();
    out.insert(out.end(), right.list()->begin(), right.list()->end());
    return out;
  }
  if (op == "*" && left.string() && right.integer()) return repeated(*left.string(), *right.integer());
  if (op == "*" && left.integer() && right.string()) return repeated(*right.string(), *left.integer());
  unsupported(op, left, right);
}

bool compare(const std::string& op, const Value& left, const Value& right) {
  if (op == "==") return equal(left, right);
  if (op == "!=") return !equal(left, right);
  if (op == "in") return contains(right, left);
  if (op == "not in") return !contains(right, left);
  if (left.is_undefined() || right.is_undefined()) unsupported(op, left, right);
  if (op == "<") return less(left, right);
  if (op == ">") return less(right, left);
  return op == "<=" ? !less(right, left) : !less(left, right);
}

}  // namespace tetrad::text::jinja
