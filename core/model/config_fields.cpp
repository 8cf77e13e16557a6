#include "model/config_fields.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "sdk/base/printable.h"

namespace tetrad::model {
namespace {

// A value as it stands in the file, short enough for a message.
std::string shown(const nlohmann::json& value) {
  return printable(value.dump());
}

}  // namespace

Fields::Fields(const nlohmann::json& object, std::string_view where, std::string prefix)
    : object_(&object), where_(where), prefix_(std::move(prefix)) {
  if (!object.is_object()) {
    throw Error(fmt::format(
        "[config] {}: {} is not an object but {}", where_,
        prefix_.empty() ? "the file's content" : "'" + prefix_.substr(0, prefix_.size() - 1) + "'",
        object.type_name()));
  }
}

void Fields::fail(const char* name, std::string_view what) const {
  throw Error(fmt::format("[config] {}: '{}{}' {}", where_, prefix_, name, what));
}

void Fields::missing(const char* name) const {
  fail(name, "is missing");
}

const nlohmann::json* Fields::value(const char* name) const {
  const auto found = object_->find(name);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

std::int64_t Fields::to_integer(const char* name, const nlohmann::json& value, std::int64_t least,
                                std::int64_t most) const {
  const double number = value.is_number() ? value.get<double>() : 0.0;
  if (!value.is_number() || number != std::floor(number)) {
    fail(name, fmt::format("is {}, not a whole number", shown(value)));
  }
  // Compared as double first: a number beyond int64 must not be converted.
  if (number < static_cast<double>(least) || number > static_cast<double>(most)) {
    fail(name, fmt::format("is {}, outside {} to {}", shown(value), least, most));
  }
  return value.get<std::int64_t>();
}

std::optional<std::int64_t> Fields::integer(const char* name, std::int64_t least, std::int64_t most) const {
  const nlohmann::json* found = value(name);
  if (found == nullptr) return std::nullopt;
  return to_integer(name, *found, least, most);
}

std::int64_t Fields::required_integer(const char* name, std::int64_t least, std::int64_t most) const {
  if (const auto found = integer(name, least, most)) return *found;
  missing(name);
}

std::optional<double> Fields::number(const char* name, double least, double most) const {
  const nlohmann::json* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_number()) fail(name, fmt::format("is {}, not a number", shown(*found)));
  const double number = found->get<double>();
  if (!(number >= least && number <= most)) {
    fail(name, fmt::format("is {}, outside {} to {}", shown(*found), least, most));
  }
  return number;
}

double Fields::required_number(const char* name, double least, double most) const {
  if (const auto found = number(name, least, most)) return *found;
  missing(name);
}

std::optional<bool> Fields::boolean(const char* name) const {
  const nlohmann::json* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_boolean()) fail(name, fmt::format("is {}, not true or false", shown(*found)));
  return found->get<bool>();
}

std::optional<std::string> Fields::string(const char* name) const {
  const nlohmann::json* found = value(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is_string()) fail(name, fmt::format("is {}, not a string", shown(*found)));
  return found->get<std::string>();
}

std::vector<std::int32_t> Fields::token_ids(const char* name, std::int64_t vocab_size) const {
  const nlohmann::json* found = value(name);
  if (found == nullptr) return {};
  const auto id = [&](const nlohmann::json& item) {
    return static_cast<std::int32_t>(to_integer(name, item, 0, vocab_size - 1));
  };
  if (!found->is_array()) return {id(*found)};
  if (found->size() > 1024) fail(name, fmt::format("lists {} ids, at most 1024 make sense", found->size()));
  std::vector<std::int32_t> ids;
  for (const nlohmann::json& item : *found) ids.push_back(id(item));
  return ids;
}

std::optional<Fields> Fields::object(const char* name) const {
  const nlohmann::json* found = value(name);
  if (found == nullptr) return std::nullopt;
  return Fields(*found, where_, prefix_ + name + ".");
}

}  // namespace tetrad::model
