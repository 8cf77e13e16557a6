// `host plugins list|inspect|why`: what lies where, and what the launcher can say about it without running
// any of it. Each writes text, or with `json` one JSON document, to `out` and returns the process's exit
// code; errors are thrown as tetrad::Error. `why` here is the static part; the engine adds each plugin's own
// answer for the device at hand.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "plugin/registry.h"

namespace tetrad::plugin {

// Every candidate with version, kinds and verdict; then the places that were searched.
int command_list(const Registry& registry, std::ostream& out, bool json);

// One plugin, by id or by the path of a file, which need not be loadable: metadata, options, capabilities,
// numerics, fingerprint beside the host's, needed libraries, symbols at the line, verdict.
int command_inspect(const Registry& registry, const std::string& id_or_path, std::ostream& out, bool json);

// Every candidate with the reason why `kind: {plugin: chosen}` takes it or not; without `chosen`, whether it
// could. Throws for a kind that no candidate has.
int command_why(const Registry& registry, const std::string& kind, const std::optional<std::string>& chosen,
                std::ostream& out, bool json);

// The members that `list --json` prints for one candidate; also what `doctor` reports.
nlohmann::json candidate_json(const Candidate& candidate);

}  // namespace tetrad::plugin
