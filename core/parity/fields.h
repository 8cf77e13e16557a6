// Reading JSON of which nothing is certain: a missing or wrongly typed field is null, nothing or "".
#pragma once

#include <nlohmann/json.hpp>

#include <cmath>
#include <optional>
#include <string>

namespace tetrad::parity {

inline const nlohmann::json& at(const nlohmann::json& from, const char* pointer) {
  static const nlohmann::json nothing;
  const nlohmann::json* here = &from;
  std::string key;
  const auto step = [&] {
    const auto found = here->is_object() ? here->find(key) : here->end();
    here = here->is_object() && found != here->end() ? &*found : &nothing;
    key.clear();
  };
  for (const char* c = *pointer == '/' ? pointer + 1 : pointer; *c != '\0'; ++c) {
    if (*c == '/') {
      step();
    } else {
      key += *c;
    }
  }
  step();
  return *here;
}

inline std::optional<double> number(const nlohmann::json& from, const char* pointer) {
  const nlohmann::json& value = at(from, pointer);
  if (!value.is_number()) return std::nullopt;
  return value.get<double>();
}

inline std::string text(const nlohmann::json& from, const char* pointer) {
  const nlohmann::json& value = at(from, pointer);
  return value.is_string() ? value.get<std::string>() : std::string();
}

// null for what JSON has no number for.
inline nlohmann::json finite_or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json();
}

inline nlohmann::json or_null(std::optional<double> value) {
  return value ? finite_or_null(*value) : nlohmann::json();
}

}  // namespace tetrad::parity
