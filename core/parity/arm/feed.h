// How an arm feeds its tokens to the KV cache: in which passes the script's ids enter the context, and how
// the prompts of its own conversation do. What is fed is the same for every feed; only rounding may differ,
// and that is what a comparison of feeds shows. The modes in detail:
//
//   whole   one pass
//   tokens  every id a pass of its own
//   chunk   passes of Feed::chunk ids
//   turns   as a chat: a turn's prompt in one pass, its answer token by token, then what closes it
//   off     no reuse: a turn's prompt, answer and close come in one pass that computes everything before them
//           again
#pragma once

#include "parity/plan/settings.h"

#include <cstdint>
#include <vector>

namespace tetrad::parity {

struct Script;

// Ids [begin, end) of a script, to be fed at once; `recompute`: after forgetting what is cached.
struct FeedPiece {
  std::int64_t begin = 0, end = 0;
  bool recompute = false;

  bool operator==(const FeedPiece&) const = default;
};

// In order, without gaps. A context cuts a piece further where it is longer than model.prefill_chunk.
std::vector<FeedPiece> feed_pieces(const Feed& feed, const Script& script);

// Tokens of a pass at most, for the prompts of a conversation.
std::int64_t pass_limit(const Feed& feed);

}  // namespace tetrad::parity
