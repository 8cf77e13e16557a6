// Typed reading of the fields of one JSON object, for config.json and generation_config.json. Contract: null
// counts as absent, as Hugging Face writes it; a wrong type or a value outside the given range throws an
// Error that names file, field, value and what is expected.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::model {

class Fields {
 public:
  // `prefix` goes before field names in messages: "rope_scaling." for a nested object.
  Fields(const nlohmann::json& object, std::string_view where, std::string prefix = {});

  bool has(const char* name) const { return value(name) != nullptr; }
  // The value, or nullptr when the field is absent or null.
  const nlohmann::json* value(const char* name) const;

  // Whole numbers; 12.0 is one, 12.5 is not.
  std::optional<std::int64_t> integer(const char* name, std::int64_t least, std::int64_t most) const;
  std::int64_t required_integer(const char* name, std::int64_t least, std::int64_t most) const;
  // Finite numbers in [least, most].
  std::optional<double> number(const char* name, double least, double most) const;
  double required_number(const char* name, double least, double most) const;
  std::optional<bool> boolean(const char* name) const;
  std::optional<std::string> string(const char* name) const;
  // One id or a list of ids; empty when absent.
  std::vector<std::int32_t> token_ids(const char* name, std::int64_t vocab_size) const;
  // A nested object.
  std::optional<Fields> object(const char* name) const;

  [[noreturn]] void fail(const char* name, std::string_view what) const;
  [[noreturn]] void missing(const char* name) const;
  const std::string& where() const noexcept { return where_; }
  const nlohmann::json& json() const noexcept { return *object_; }

 private:
  std::int64_t to_integer(const char* name, const nlohmann::json& value, std::int64_t least,
                          std::int64_t most) const;

  const nlohmann::json* object_;
  std::string where_;
  std::string prefix_;
};

}  // namespace tetrad::model
