// The config tree: immutable values (null, bool, integer, number, string, list, ordered map), each with the
// place it came from. A Node is a cheap handle to shared constant data; copying one never copies a subtree,
// and nothing can change a tree after it is built. yaml-cpp nodes never leave the reader. Scalars keep the
// text they were written as, because some are typed late: a --set value or one with ${env:NAME} in it is text
// until the schema says what it must be (typed_by_schema()).
#pragma once

#include "config/origin.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::config {

enum class Kind : std::uint8_t {
  null,
  boolean,
  integer,
  number,
  string,
  list,
  map,
  invalid,  // its error has been reported already; validation passes over it
};

// "an integer", "a list", for messages.
const char* kind_name(Kind kind) noexcept;

struct Entry;

class Node {
 public:
  Node() noexcept;  // null without an origin

  static Node null(Origin origin, std::string text = "null");
  static Node boolean(bool value, Origin origin);
  static Node integer(std::int64_t value, Origin origin, std::string text = {});
  static Node number(double value, Origin origin, std::string text = {});
  static Node string(std::string value, Origin origin);
  static Node list(std::vector<Node> items, Origin origin);
  static Node map(std::vector<Entry> entries, Origin origin);
  static Node invalid(Origin origin, std::string text = {});
  // Text whose type only the schema can tell.
  static Node untyped(std::string text, Origin origin);

  Kind kind() const noexcept;
  const Origin& origin() const noexcept;
  bool is_map() const noexcept { return kind() == Kind::map; }
  bool is_null() const noexcept { return kind() == Kind::null; }
  bool typed_by_schema() const noexcept;

  // The value. Precondition: kind() is the accessor's; as_number() also takes an integer.
  // Throws std::logic_error otherwise: a bug in the caller, not in the config.
  bool as_bool() const;
  std::int64_t as_integer() const;
  double as_number() const;
  const std::string& as_string() const;
  const std::vector<Node>& items() const;
  const std::vector<Entry>& entries() const;

  // The entry or value of a map's key; null when this is no map or has no such key.
  const Entry* find(std::string_view key) const noexcept;
  const Node* get(std::string_view key) const noexcept;

  // Scalars as written in the file, else as they would be; containers as "{...}" and "[...]".
  std::string text() const;
  // Nodes in this subtree, this one included, aliases expanded. Saturates.
  std::size_t node_count() const noexcept;
  // Levels below this one: 0 for a scalar.
  int height() const noexcept;

  Node with_origin(Origin origin) const;

 private:
  struct Data;
  explicit Node(std::shared_ptr<const Data> data) noexcept : data_(std::move(data)) {}
  std::shared_ptr<const Data> data_;
};

struct Entry {
  std::string key;
  Origin key_origin;
  Node value;
};

// Equal values, origins and spelling aside. Maps compare without regard to order; 1 and 1.0 are different.
bool same_value(const Node& a, const Node& b);

// "a.b.c" below `root`; null when absent. Keys with dots in them cannot be reached this way.
const Node* find_path(const Node& root, std::string_view path);

// "a.b" + "c" -> "a.b.c"; "" + "c" -> "c".
std::string join_path(std::string_view parent, std::string_view key);

}  // namespace tetrad::config
