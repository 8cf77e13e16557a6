// Scores a script: every token is fed, whatever the model would have said, and the logits of every position
// are stored. Repeated from an empty cache as often as asked, each time compared with the first to the bit.
#pragma once

#include "generate/context.h"
#include "parity/arm/feed.h"
#include "parity/arm/script.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::parity {

// Position, then fp32 logits [vocab] of that position on the host, contiguous, valid during the call.
using RowVisit = std::function<void(std::int64_t, const at::Tensor&)>;

// Feeds the script from an empty context, piece by piece; each position is visited once, in order.
// Single-token pieces go the way of a generated token (on CUDA its captured graph). `before_piece` may throw.
void feed_script(generate::Context& context, const Script& script, const Feed& feed, const RowVisit& visit,
                 const std::function<void()>& before_piece = {});

struct ScoreResult {
  std::vector<float> first_token;  // logits at Script::first_answer_position()
  std::int64_t iterations = 1;
  struct Difference {
    std::int64_t iteration = 0;  // counted from 1; the first one differs from nothing
    std::int64_t position = 0;
  };
  std::optional<Difference> first_difference;
  double seconds = 0.0;  // of the first iteration, writing the file included
  KvMemory kv;           // after the first iteration
};

// Writes logits.safetensors' tensors to `file`: input_ids int64 [T], logits fp32 [T, vocab].
ScoreResult score_script(generate::Context& context, const Script& script, const Feed& feed,
                         std::int64_t iterations, std::int64_t vocab, const std::filesystem::path& file,
                         const std::map<std::string, std::string>& metadata,
                         const std::function<void()>& before_piece = {});

}  // namespace tetrad::parity
