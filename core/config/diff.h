// Where two resolved configs differ, key by key.
#pragma once

#include "config/tree.h"

#include <optional>
#include <string>
#include <vector>

namespace tetrad::config {

struct Change {
  std::string path;       // dotted
  std::optional<Node> a;  // nullopt: the key does not exist on this side (an option of another plugin)
  std::optional<Node> b;
};

// In the order of `a`'s keys, then those that only `b` has. Lists and scalars compare as a whole.
std::vector<Change> diff(const Node& a, const Node& b);

}  // namespace tetrad::config
