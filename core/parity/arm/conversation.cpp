#include "parity/arm/conversation.h"

#include "parity/arm/pieces.h"
#include "text/utf8.h"

#include <tetrad/base/error.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>

namespace tetrad::parity {
namespace {

double median_of(const std::vector<Speed>& runs, double Speed::*figure) {
  std::vector<double> values;
  for (const Speed& run : runs) values.push_back(run.*figure);
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

nlohmann::json GreedyTurn::to_json(const text::Tokenizer& tokenizer) const {
  return {{"turn", turn},
          {"prompt", prompt},
          {"ids", result.output_ids},
          {"text", text::lossy_utf8(result.text)},
          {"withheld_bytes", result.withheld_bytes},
          {"pieces", token_pieces(tokenizer, result.output_ids)},
          {"stop_reason", generate::stop_reason_name(result.stop_reason)},
          {"top1_top2_gaps", result.gaps},
          {"ms", (result.first_token_seconds + result.decode_seconds) * 1e3}};
}

std::vector<GreedyTurn> play(generate::ChatSession& chat, generate::Context& context, const Feed& feed,
                             const std::vector<std::string>& prompts, const std::atomic<bool>& interrupt) {
  context.limit_passes(pass_limit(feed));
  chat.reset();
  std::vector<GreedyTurn> turns;
  for (const std::string& prompt : prompts) {
    if (feed.mode == FeedMode::off) context.recompute();
    GreedyTurn turn;
    turn.turn = static_cast<std::int64_t>(turns.size()) + 1;
    turn.prompt = prompt;
    turn.begin = context.length();
    turn.result = chat.turn(prompt, {}, interrupt);
    turn.end = context.length();
    if (turn.result.stop_reason == generate::StopReason::interrupted) throw Error("[parity] interrupted");
    turns.push_back(std::move(turn));
  }
  context.limit_passes(std::numeric_limits<std::int64_t>::max());
  return turns;
}

Script script_of(const std::vector<GreedyTurn>& turns, const generate::Context& context) {
  Script script;
  const std::vector<std::int32_t>& ledger = context.ledger();
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return std::vector<std::int32_t>(ledger.begin() + begin, ledger.begin() + end);
  };
  for (const GreedyTurn& turn : turns) {
    const std::int64_t prompt_end = turn.begin + static_cast<std::int64_t>(turn.result.prompt_ids.size());
    const std::int64_t answer_end = prompt_end + static_cast<std::int64_t>(turn.result.output_ids.size());
    script.add(Segment::Kind::prompt, turn.turn, part(turn.begin, prompt_end));
    script.add(Segment::Kind::answer, turn.turn, part(prompt_end, answer_end));
    script.add(Segment::Kind::close, turn.turn, part(answer_end, turn.end));
  }
  return script;
}

Speed speed_of(const std::vector<GreedyTurn>& turns) {
  Speed speed;
  double prefill_tokens = 0, prefill_seconds = 0, decoded = 0, decode_seconds = 0;
  for (const GreedyTurn& turn : turns) {
    prefill_tokens += static_cast<double>(turn.result.prompt_ids.size());
    prefill_seconds += turn.result.prefill_seconds;
    decoded += static_cast<double>(turn.result.decoded_tokens);
    decode_seconds += turn.result.decode_seconds;
  }
  if (!turns.empty()) speed.ttft_s = turns.front().result.first_token_seconds;
  if (prefill_seconds > 0) speed.prefill_tok_s = prefill_tokens / prefill_seconds;
  if (decode_seconds > 0 && decoded > 0) speed.decode_tok_s = decoded / decode_seconds;
  return speed;
}

Speed median_speed(const std::vector<Speed>& runs) {
  return {median_of(runs, &Speed::ttft_s), median_of(runs, &Speed::prefill_tok_s),
          median_of(runs, &Speed::decode_tok_s)};
}

}  // namespace tetrad::parity
