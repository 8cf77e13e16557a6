// What a turn becomes on stderr and in the run's record.
#pragma once

#include "cli/engine/session.h"
#include "generate/chat_session.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace tetrad::cli {

// "[kvc] turn=2 seqLen=47 contextTokens=47 prefill=10 tok 52.1 ms decode=31.0 tok/s"
// Without `timing` it ends after contextTokens.
std::string kvc_line(std::int64_t turn, const generate::TurnResult& result, const generate::Context& context,
                     bool timing = true);

// Says on stderr what repeats, when something does. Returns the exit code that the turn asks for: numerics
// when the config stops on a collapse, 0 otherwise.
int report_collapse(const generate::TurnResult& result);

// Writes text to stdout at once: a stream is read as it comes.
void print(std::string_view text);

// The turn as JSON: ids, text, stop reason, timing.
nlohmann::json turn_record(const generate::TurnResult& result, const generate::Context& context);

// {"host_peak_bytes", "device_peak_bytes"}.
nlohmann::json memory_record(Session& session);

// Adds a turn to the run's record and saves it.
void record_turn(Session& session, std::string_view prompt, nlohmann::json turn);

// Ends the run's record with `results` (keys of record.json). Throws Error when it cannot be written.
void write_record(Session& session, const nlohmann::json& results);

}  // namespace tetrad::cli
