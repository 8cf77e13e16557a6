// A resolved config as JSON (for the engine and for hashing) and as YAML (for people, and to run again).
#pragma once

#include "config/tree.h"

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tetrad::config {

// Plain JSON of the same values. A number stays floating-point ("1.0") even where it is whole.
nlohmann::json to_json(const Node& node);

// SHA-256, 64 hexadecimal digits, of the compact JSON with sorted keys (to_json(node).dump()). Origins do not
// matter.
std::string config_hash(const Node& node);

enum class ShowOrigins : bool { no, yes };

// YAML that reads back as the same tree: block style, texts in double quotes where plain ones would be
// misread, `${` escaped. With origins each value has its place as a comment. `node` must be a map. Ends with
// a newline, unless empty.
std::string to_yaml(const Node& node, ShowOrigins origins = ShowOrigins::no);

}  // namespace tetrad::config
