// A plugin's metadata: what its author wrote in plugin.json and the fingerprint of its build, as found in its
// ELF note. parse_metadata() checks every member's type and every option's schema, and throws
// tetrad::Error(plugin_refused) with a text such as "metadata: options[2].default is not one of its values";
// unknown members are kept, not refused, so that a newer plugin can still be inspected.
//
// plugin.json:
//   id, version, description, licence   strings; id is [a-z0-9][a-z0-9._-]*, at most 64 characters
//   kinds         list of strings: "linear", "kv_cache", ...
//   options       list of {key, type: bool|int|number|string|enum, default, min, max, values, doc[, kind]};
//   an option
//                 without default must be given; one with `kind` belongs to that kind alone
//   capabilities  list of {device: cpu|cuda, support: native|emulated|unsupported, ...}, or one object with
//                 `devices`, a list, for the same claims on each (support then defaults to native): claims
//                 for `list` and `inspect`; the engine compares them with the plugin's own answers
//   numerics      {deterministic: bool or text, accumulation, rounding, bounds: {dtype: number},
//                 weights: {reference: dense|nvfp4, bound, group: row|tensor|columns, profile, global_scale}}
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "plugin/fingerprint.h"

namespace tetrad::plugin {

struct Metadata {
  std::string id;
  std::string version;
  std::string description;
  std::string licence;
  std::vector<std::string> kinds;
  nlohmann::json options = nlohmann::json::array();
  nlohmann::json capabilities = nlohmann::json::array();
  nlohmann::json numerics = nlohmann::json::object();
  Fingerprint fingerprint;
  nlohmann::json plugin;  // plugin.json, whole

  bool has_kind(std::string_view kind) const;
  // The options that apply to `kind`, in file order: the list the config's option schema is made from.
  nlohmann::json options_for(std::string_view kind) const;
  // {"plugin": {...}, "fingerprint": {...}}, as sent to the engine.
  nlohmann::json to_json() const;
};

Metadata parse_metadata(const std::string& note);

}  // namespace tetrad::plugin
