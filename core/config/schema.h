// What a config may contain, as data: each key with its type, range, default and documentation. The core
// schema is built in (core_schema.cpp); a plugin brings the fields of its own `options` map in its metadata
// (option_schema.h). Validation, `config schema`, the JSON schema for editors and the docs are all made from
// these fields.
#pragma once

#include "config/tree.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::config {

enum class Type : std::uint8_t {
  boolean,
  integer,
  number,  // an integer is taken too and becomes a double
  string,
  choice,    // one of `values`
  list,      // of `element`
  section,   // a map with the keys of `fields`
  options,   // a map whose keys the plugin brings that the sibling key `plugin` names
  text_map,  // a map of any keys to texts
  free_map,  // a map of any keys to any values
};

// What a text says beyond being text.
enum class Meaning : std::uint8_t {
  plain,
  plugin_id,    // of Field::plugin_kind
  input_path,   // a file or folder to read: a relative one is looked for (see resolve_input_path) and stored
                // absolute
  output_path,  // a file or folder to write: a relative one is below the current directory and stored
                // absolute
};

struct Field {
  std::string key;
  Type type = Type::string;
  Meaning meaning = Meaning::plain;
  bool nullable = false;   // takes null, and null is the default unless default_value is set
  bool required = false;   // no default: the user must give it
  bool non_empty = false;  // a text or list that must not be empty
  std::optional<double> min;
  std::optional<double> max;
  bool exclusive_min = false;
  bool exclusive_max = false;
  // choice: the words it takes; number or integer: words it takes besides numbers ("auto"). "<n>" at the end
  // of a word stands for a decimal integer: "cuda:<n>".
  std::vector<std::string> values;
  std::optional<Node> default_value;
  std::string unit;           // "GiB", "seconds"; empty for none
  std::string doc;            // one or more English sentences
  std::string since = "0.1";  // version of Tetrad that brought the key
  std::string
      deprecated_by;  // sibling key that took over; a value under this key is moved there with a warning
  std::string plugin_kind;               // Type::options and Meaning::plugin_id: "linear", "kv_cache"
  std::vector<Field> fields;             // Type::section
  std::shared_ptr<const Field> element;  // Type::list

  const Field* find(std::string_view field_key) const noexcept;
};

// Options that one plugin takes: fields of types boolean, integer, number, string and choice.
struct OptionSchema {
  std::string kind;  // "linear"
  std::string id;    // "backend-nvfp4"
  std::vector<Field> fields;
};

// The whole core schema: one section without a key.
const Field& core_schema();

// "an integer >= 1", "one of training, bridge", "a number > 0 and <= 1, or auto, none": for messages and
// listings.
std::string describe_type(const Field& field);
// ">= 0 and <= 1"; "" without bounds.
std::string describe_range(const Field& field);
// Whether `word` is one of the field's values (patterns included).
bool takes_word(const Field& field, std::string_view word);
bool in_range(const Field& field, double value);

// The field at a dotted path of the core schema; null when there is none. Stops at an options map: for
// "linear.options.x" the field of "linear.options" is returned and `rest` is "x" (else "").
const Field* find_field(const Field& root, std::string_view path, std::string_view* rest = nullptr);

// Dotted paths of all keys of the core schema, sections included, in schema order.
std::vector<std::string> all_paths(const Field& root);

}  // namespace tetrad::config
