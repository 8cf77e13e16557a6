// The words of a run's summary, one table for each language that Tetrad's users read. Layout and figures are
// the same in all of them (summary.cpp); only these texts differ.
#pragma once

#include <string>
#include <string_view>

namespace tetrad::runs {

enum class Language { english, traditional_chinese };

struct Words {
  // rows of the first table
  const char *run, *command, *task, *started, *duration, *result, *reason, *path, *linear, *kv_cache, *device,
      *weights, *weight_hash, *config, *overrides, *peak_memory, *speed, *versions;
  // pieces of values
  const char *exit_code, *seconds, *eval_cache, *host_memory, *process_tree, *device_memory, *load_time,
      *first_token, *unknown, *none, *on, *off, *hash;
  // punctuation
  const char *comma, *colon, *open, *close;
  // how a run ended
  const char *ok, *failed, *guard, *interrupted, *crashed, *running, *lost;
  // turns and text
  const char *turns, *turn, *prefill_tokens, *prefill_time, *output_tokens, *decode_rate, *stop_reason,
      *collapse, *text, *prompt, *answer, *cut;
  // results of eval and logits
  const char *evaluation, *perplexity, *tokens, *scored_tokens, *window, *stride, *text_file, *logits, *file,
      *positions, *vocabulary;
};

const Words& words(Language language);

// "en" or "zh-TW" (any case, '_' for '-'). Throws Error(usage) for others.
Language parse_language(std::string_view name);

// A state of status.json ("ok", "guard", ...) in words; an unknown state as it is.
std::string state_words(const Words& words, std::string_view state);

}  // namespace tetrad::runs
