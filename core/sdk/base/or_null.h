// JSON of a figure that may not be known: null then, never 0.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>

namespace tetrad {

inline nlohmann::json or_null(const std::optional<std::uint64_t>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

}  // namespace tetrad
