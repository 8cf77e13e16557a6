// The build fingerprint: what must be equal on both sides of the plugin line for C++ objects to cross it. The
// host's is compiled in; a plugin's stands in its note. compare() names the first field that differs, both
// values and the remedy; differences that are safe but worth knowing become warnings.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tetrad::plugin {

// Members: interface_hash, torch_version (null: the plugin uses no libtorch), cuda (null, or {version,
// architectures}), build_type, sanitizers, and those of tetrad/base/compiled_facts.h.
struct Fingerprint {
  nlohmann::json fields = nlohmann::json::object();
};

// This program's own.
const Fingerprint& host_fingerprint();

struct Comparison {
  std::string
      refusal;  // e.g. "libtorch 2.12.0 != host 2.11.0; rebuild against this SDK"; empty: equal enough
  std::vector<std::string> warnings;  // e.g. "built by gcc 13, the host by gcc 12"
};

// `plugin` has passed parse_metadata's type checks.
Comparison compare(const Fingerprint& plugin, const Fingerprint& host);

}  // namespace tetrad::plugin
