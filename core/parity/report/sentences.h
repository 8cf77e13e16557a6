// The three plain sentences that a report opens with: what is equal; what differs first, and where; whether
// that is allowed. A pure function of the report, for readers who read nothing else.
#pragma once

#include "parity/report/words.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace tetrad::parity {

std::vector<std::string> sentences(const nlohmann::json& report, Language language);

// One reason of a verdict, or one check, in words: "largest KL 0.31 at position 12; allowed 1e-06 (numerics
// contracts)".
std::string reason_text(const nlohmann::json& reason, Language language);

}  // namespace tetrad::parity
