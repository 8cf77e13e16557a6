#include "generate/chat_session.h"

#include "generate/collapse.h"
#include "text/incremental_decoder.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

namespace tetrad::generate {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

const char* stop_reason_name(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::stop_token:
      return "stop_token";
    case StopReason::max_tokens:
      return "max_tokens";
    case StopReason::interrupted:
      return "interrupted";
    case StopReason::collapse:
      return "collapse";
    case StopReason::timeout:
      return "timeout";
  }
  return "unknown";
}

ChatSession::ChatSession(Context& context, const text::Tokenizer& tokenizer, const text::TurnFormat& format,
                         GenerationOptions options, std::optional<std::string> system)
    : context_(context),
      tokenizer_(tokenizer),
      format_(format),
      options_(std::move(options)),
      system_(std::move(system)),
      sampler_(options_.sampling) {}

TurnResult ChatSession::turn(std::string_view user, const OnText& on_text,
                             const std::atomic<bool>& interrupt) {
  text::TurnTokens prompt = table_.empty() ? format_.first(system_, user) : format_.next(user);
  require_room(prompt.ids.size(), format_.close_ids().size());
  const std::int64_t before = context_.length();
  try {
    TurnResult result = generate(std::move(prompt.ids), /*close=*/true, on_text, interrupt);
    const std::int64_t prompt_end = before + static_cast<std::int64_t>(result.prompt_ids.size());
    table_.push_back({before, prompt_end, context_.length(), std::string(user), result.text,
                      stop_reason_name(result.stop_reason)});
    return result;
  } catch (...) {
    take_back(before);
    throw;
  }
}

TurnResult ChatSession::complete(const std::vector<std::int32_t>& prompt_ids, const OnText& on_text,
                                 const std::atomic<bool>& interrupt) {
  require_room(prompt_ids.size(), 0);
  return generate(prompt_ids, /*close=*/false, on_text, interrupt);
}

void ChatSession::take_back(std::int64_t length) noexcept {
  try {
    context_.truncate(length);
  } catch (const Error&) {
    // The failure that led here is the one to report; a context that cannot be cut says so when it is fed.
  }
}

void ChatSession::reset() {
  context_.reset();
  table_.clear();
}

std::optional<std::string> ChatSession::undo() {
  if (table_.empty()) return std::nullopt;
  context_.truncate(table_.back().begin);
  std::string user = std::move(table_.back().user);
  table_.pop_back();
  return user;
}

void ChatSession::set_system(std::optional<std::string> system) {
  reset();
  system_ = std::move(system);
}

void ChatSession::restore(const std::vector<std::int32_t>& ledger, std::vector<text::TurnSpan> table,
                          std::optional<std::string> system) {
  if (static_cast<std::int64_t>(ledger.size()) > context_.max_tokens()) {
    throw Error(ExitCode::usage, "[context] the stored conversation has " + std::to_string(ledger.size()) +
                                     " tokens, the context limit is " +
                                     std::to_string(context_.max_tokens()) + "; raise model.max_context");
  }
  const std::vector<std::int32_t> before = context_.ledger();
  try {
    context_.reset();
    context_.append(ledger);
  } catch (...) {
    take_back(0);
    context_.append(before);
    throw;
  }
  table_ = std::move(table);
  system_ = std::move(system);
}

void ChatSession::require_room(std::size_t prompt, std::size_t close) const {
  const auto needed = context_.length() + static_cast<std::int64_t>(prompt + close) + options_.max_tokens;
  if (needed <= context_.max_tokens()) return;
  throw Error(ExitCode::usage, "[context] " + std::to_string(context_.length()) + " tokens of history + " +
                                   std::to_string(prompt) + " of this prompt + max_tokens " +
                                   std::to_string(options_.max_tokens) + " + " + std::to_string(close) +
                                   " to close the turn = " + std::to_string(needed) + " > context limit of " +
                                   std::to_string(context_.max_tokens()) +
                                   "; shorten the prompt, lower chat.max_tokens or start anew");
}

Choice ChatSession::pick(const at::Tensor& logits) {
  if (const auto& best = context_.best(); best && sampler_.takes_the_best())
    return {static_cast<std::int32_t>(best->id), best->top1, best->top2};
  if (const auto choice = device_sampler_.pick(logits, context_.ledger(), sampler_)) return *choice;
  const at::Tensor row = logits.cpu();
  return sampler_.pick({row.const_data_ptr<float>(), static_cast<std::size_t>(row.numel())},
                       context_.ledger());
}

TurnResult ChatSession::generate(std::vector<std::int32_t> prompt_ids, bool close, const OnText& on_text,
                                 const std::atomic<bool>& interrupt) {
  TurnResult result;
  result.prompt_ids = std::move(prompt_ids);
  result.smallest_gap = std::numeric_limits<float>::infinity();
  text::IncrementalDecoder decoder(tokenizer_);

  const Clock::time_point start = Clock::now();
  at::Tensor logits = context_.feed(result.prompt_ids);
  result.prefill_seconds = seconds_since(start);

  Clock::time_point first_token;
  std::vector<std::int32_t> pending;  // accepted, not yet in the cache
  while (true) {
    const Choice choice = pick(logits);
    result.gaps.push_back(choice.top1 - choice.top2);
    result.smallest_gap = std::min(result.smallest_gap, result.gaps.back());
    const bool stop = !options_.ignore_eos && std::find(options_.stop_ids.begin(), options_.stop_ids.end(),
                                                        choice.id) != options_.stop_ids.end();
    if (stop) {
      // Only the turn's own close token enters the cache; any other stop token is dropped and the turn closed
      // whole.
      if (close && !format_.close_ids().empty() && choice.id == format_.close_ids().front())
        pending.push_back(choice.id);
      result.stop_reason = StopReason::stop_token;
    } else {
      result.output_ids.push_back(choice.id);
      pending.push_back(choice.id);
      const std::string piece = decoder.feed(choice.id);
      result.text += piece;
      if (!piece.empty() && on_text) on_text(piece);
    }
    if (result.output_ids.size() + (stop ? 1 : 0) == 1) {
      first_token = Clock::now();
      result.first_token_seconds = seconds_since(start);
    }
    if (stop) break;
    if (!result.collapse.has_value()) {
      if (const auto collapse = find_collapse(result.output_ids)) result.collapse = describe(*collapse);
    }
    if (result.collapse.has_value() && options_.stop_on_collapse) {
      result.stop_reason = StopReason::collapse;
      break;
    }
    if (static_cast<std::int64_t>(result.output_ids.size()) >= options_.max_tokens) {
      result.stop_reason = StopReason::max_tokens;
      break;
    }
    if (interrupt.load()) {
      result.stop_reason = StopReason::interrupted;
      break;
    }
    if (options_.timeout_seconds && seconds_since(start) >= *options_.timeout_seconds) {
      result.stop_reason = StopReason::timeout;
      break;
    }
    logits = context_.feed(pending);
    pending.clear();
    ++result.decoded_tokens;
  }
  result.decode_seconds = seconds_since(first_token);
  result.withheld_bytes = decoder.finish();

  const bool close_token_accepted = close && result.stop_reason == StopReason::stop_token && !pending.empty();
  if (close) {
    const std::vector<std::int32_t> rest =
        close_token_accepted ? format_.close_after_stop_ids() : format_.close_ids();
    pending.insert(pending.end(), rest.begin(), rest.end());
  }
  context_.append(pending);
  return result;
}

}  // namespace tetrad::generate
