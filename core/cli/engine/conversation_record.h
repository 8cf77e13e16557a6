// What a turn becomes on stderr and in the run's record.
#pragma once

#include "cli/engine/session.h"
#include "generate/chat_session.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>

namespace tetrad::cli {

// "[kvc] turn=2 seqLen=47 contextTokens=47 prefill=10 tok 52.1 ms decode=31.0 tok/s"
std::string kvc_line(std::int64_t turn, const generate::TurnResult& result, const generate::Context& context);

// The turn as JSON: ids, text, stop reason, timing.
nlohmann::json turn_record(const generate::TurnResult& result, const generate::Context& context);

// {"host_peak_bytes", "device_peak_bytes"}.
nlohmann::json memory_record(Session& session);

// Writes run_dir/record.json (crash-safe) when the run has a folder.
void write_record(Session& session, const nlohmann::json& results);

}  // namespace tetrad::cli
