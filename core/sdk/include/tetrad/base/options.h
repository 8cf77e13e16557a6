// Options of a plugin as the host hands them over: already checked against the option schema in the plugin's
// metadata, defaults filled in, in the schema's order. A plugin reads them with get<T>() and may assume
// presence and type.
#pragma once

#include <tetrad/base/status.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tetrad {

using OptionValue = std::variant<bool, std::int64_t, double, std::string>;

class Options {
 public:
  Options() = default;
  explicit Options(std::vector<std::pair<std::string, OptionValue>> values) : values_(std::move(values)) {}

  // The value of `key` as T (bool, int64_t, double or std::string).
  // Throws StatusError(invalid_option) when the key is absent or of another type: a bug in the plugin's
  // metadata.
  template <class T>
  const T& get(std::string_view key) const {
    for (const auto& [name, value] : values_) {
      if (name != key) continue;
      if (const T* typed = std::get_if<T>(&value)) return *typed;
      throw StatusError(StatusCode::invalid_option,
                        "option '" + std::string(key) + "' has another type than the plugin reads");
    }
    throw StatusError(StatusCode::invalid_option,
                      "option '" + std::string(key) + "' is not in the plugin's option schema");
  }

  const std::vector<std::pair<std::string, OptionValue>>& values() const noexcept { return values_; }

 private:
  std::vector<std::pair<std::string, OptionValue>> values_;
};

}  // namespace tetrad
