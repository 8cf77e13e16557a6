// Strict reading of JSON files that came from somewhere else (config.json, tensor headers, shard indexes).
// Contract: duplicate keys, nesting beyond a bound, more values than a bound, invalid UTF-8, numbers out of
// range and trailing text are errors that name the file and the place; nothing is allocated in proportion to
// what a file merely claims.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace tetrad::io {

struct JsonLimits {
  std::size_t max_bytes = std::size_t{64} << 20;
  std::size_t max_depth = 64;        // objects and arrays inside each other
  std::size_t max_values = 4 << 20;  // scalars, objects and arrays in all
};

// The value of `text`. `where` names the source in errors, usually the file.
// Throws Error "[json] where: line L, column C: ...".
nlohmann::json parse_json(std::string_view text, std::string_view where, const JsonLimits& limits = {});

// Reads and parses a regular file of at most limits.max_bytes.
nlohmann::json read_json(const std::filesystem::path& file, const JsonLimits& limits = {});

}  // namespace tetrad::io
