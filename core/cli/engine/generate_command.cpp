// `generate`: one prompt, one answer; with --json one record on stdout instead of the streamed text.
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/process_clock.h"
#include "cli/engine/session.h"
#include "cli/engine/soft_stage.h"

#include <tetrad/base/error.h>

#include <cstdio>
#include <string>
#include <vector>

namespace tetrad::cli {

namespace {

// The first run of a process pays for what is made once: pages, caches, libtorch's own kernels.
nlohmann::json timing_of(const nlohmann::json& turn) {
  return {{"prefill_s", turn["prefill_s"]},
          {"prefill_tok_s", turn["prefill_tok_s"]},
          {"decode_s", turn["decode_s"]},
          {"decode_tok_s", turn["decode_tok_s"]}};
}

}  // namespace

int run_generate(Control& control) {
  MemoryWatch memory;
  Session session(control, memory);
  const nlohmann::json& args = session.run().args;
  const bool json = args.value("json", false), raw = args.value("raw", false);
  const auto prompt = args.at("prompt").get<std::string>();
  const bool timing = session.config().at("chat").at("timing").get<bool>();

  if (session.config().at("chat").at("probe_logits").get<bool>()) session.probe_logits(prompt, raw);
  generate::ChatSession chat = raw ? session.new_completion() : session.new_chat();
  double first_token = 0.0;
  const auto on_text = [&](std::string_view piece) {
    if (first_token == 0.0) first_token = seconds_since_host_start();
    if (!json) print(piece);
    answer_soft_stage(session);
  };
  std::atomic<bool>& interrupt = control.interrupt();
  const std::vector<std::int32_t> ids = raw ? session.prompt_ids(prompt, true) : std::vector<std::int32_t>{};
  if (raw && ids.empty()) throw Error(ExitCode::usage, "[generate] the prompt has no tokens");
  const generate::TurnResult result =
      raw ? chat.complete(ids, on_text, interrupt) : chat.turn(prompt, on_text, interrupt);

  const nlohmann::json turn = turn_record(result, session.context());
  nlohmann::json runs = nlohmann::json::array({timing_of(turn)});
  for (int i = 1; i < args.value("repeat", 1) && !interrupt.load(); ++i) {
    chat.reset();
    const generate::TurnResult again =
        raw ? chat.complete(result.prompt_ids, {}, interrupt) : chat.turn(prompt, {}, interrupt);
    runs.push_back(timing_of(turn_record(again, session.context())));
  }
  nlohmann::json record = {
      {"prompt_ids", turn["prompt_ids"]},
      {"output_ids", turn["output_ids"]},
      {"text", turn["text"]},
      {"stop_reason", turn["stop_reason"]},
      {"timing",
       {{"load_s", session.load_seconds()},
        {"ttft_s", first_token},
        {"prefill_tok_s", turn["prefill_tok_s"]},
        {"decode_tok_s", turn["decode_tok_s"]}}},
      {"runs", runs},
      {"memory", memory_record(session)},
      {"kv", {{"seq_len", turn["seq_len"]}, {"context_tokens", turn["context_tokens"]}}},
      {"plugins", session.identity().plugins()},
      {"compute", session.identity().compute},
      {"top1_top2_gaps", turn["top1_top2_gaps"]},
      {"smallest_top1_top2_gap", turn["smallest_top1_top2_gap"]},
      {"collapse", turn["collapse"]},
  };
  if (json) {
    print(record.dump() + "\n");
  } else {
    print("\n");
    std::fprintf(stderr, "%s\n", kvc_line(1, result, session.context(), timing).c_str());
  }
  record_turn(session, prompt, turn);
  write_record(session, {{"result", record}, {"ttft_s", first_token}});
  return report_collapse(result);
}

}  // namespace tetrad::cli
