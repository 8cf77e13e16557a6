#include "cli/engine/conversation_record.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

namespace tetrad::cli {
namespace {

double rate(double count, double seconds) {
  return seconds > 0 ? count / seconds : 0.0;
}

}  // namespace

std::string kvc_line(std::int64_t turn, const generate::TurnResult& result, const generate::Context& context,
                     bool timing) {
  std::string line = fmt::format("[kvc] turn={} seqLen={} contextTokens={}", turn,
                                 context.kv_lengths().resident, context.length());
  if (timing) {
    line += fmt::format(" prefill={} tok {:.1f} ms decode={:.1f} tok/s", result.prompt_ids.size(),
                        result.prefill_seconds * 1e3,
                        rate(static_cast<double>(result.decoded_tokens), result.decode_seconds));
  }
  return line;
}

int report_collapse(const generate::TurnResult& result) {
  if (!result.collapse) return 0;
  const bool stopped = result.stop_reason == generate::StopReason::collapse;
  std::fprintf(stderr, "%s: [collapse] the model repeats %s\n", stopped ? "error" : "warning",
               result.collapse->c_str());
  return stopped ? static_cast<int>(ExitCode::numerics) : 0;
}

void print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  const int error = errno;
  throw Error(fmt::format("[output] the result could not be written to standard output: {}",
                          std::generic_category().message(error)));
}

nlohmann::json turn_record(const generate::TurnResult& result, const generate::Context& context) {
  nlohmann::json record = {
      {"prompt_ids", result.prompt_ids},
      {"output_ids", result.output_ids},
      {"text", result.text},
      {"withheld_bytes", result.withheld_bytes},
      {"stop_reason", generate::stop_reason_name(result.stop_reason)},
      {"prefill_tokens", result.prompt_ids.size()},
      {"prefill_s", result.prefill_seconds},
      {"prefill_tok_s", rate(static_cast<double>(result.prompt_ids.size()), result.prefill_seconds)},
      {"decoded_tokens", result.decoded_tokens},
      {"decode_s", result.decode_seconds},
      {"decode_tok_s", rate(static_cast<double>(result.decoded_tokens), result.decode_seconds)},
      {"top1_top2_gaps", result.gaps},
      {"smallest_top1_top2_gap", result.smallest_gap},
      {"seq_len", context.kv_lengths().resident},
      {"context_tokens", context.length()},
      {"collapse", nullptr},
  };
  if (result.collapse) record["collapse"] = *result.collapse;
  return record;
}

nlohmann::json memory_record(Session& session) {
  session.memory().sample();
  return {{"host_peak_bytes", session.memory().peak()}, {"device_peak_bytes", session.device_peak_bytes()}};
}

void record_turn(Session& session, std::string_view prompt, nlohmann::json turn) {
  session.record().add_turn(prompt, std::move(turn));
  session.record().set("memory", memory_record(session));
  session.record().save();
}

void write_record(Session& session, const nlohmann::json& results) {
  for (const auto& [key, value] : results.items()) session.record().set(key, value);
  session.record().set("memory", memory_record(session));
  session.record().finish();
}

}  // namespace tetrad::cli
