// YAML text -> config tree, in one pass over yaml-cpp's events. What YAML allows but configs must not contain
// is an error with its place: duplicate keys, merge keys (<<), tags, several documents, keys that are not
// text, tabs as indentation, numbers that readers disagree about. Size, depth and alias expansion are
// bounded, so a hostile file costs no more than a large one. All errors of a file are collected; only broken
// syntax ends the reading.
#pragma once

#include "config/diagnostics.h"
#include "config/tree.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace tetrad::config {

struct ReadLimits {
  std::size_t max_bytes = std::size_t{1} << 20;
  std::size_t max_nodes = 50'000;  // aliases expanded
  int max_depth = 32;
};

// The tree of one document. An empty document is an empty map. Values that are in error are Kind::invalid;
// the whole is when the text cannot be read to its end. `origin_of_text` gives the source of all places:
// Origin::Kind::file (places inside the text are line:col), or Origin::Kind::set, which then stands at every
// node as it is.
Node read_yaml(std::string_view text, const Origin& origin_of_text, Diagnostics& diagnostics,
               const ReadLimits& limits = {});

}  // namespace tetrad::config
