#include "parity/arm/feed.h"

#include "parity/arm/script.h"

#include <algorithm>
#include <limits>

namespace tetrad::parity {

std::vector<FeedPiece> feed_pieces(const Feed& feed, const Script& script) {
  const auto total = static_cast<std::int64_t>(script.ids.size());
  std::vector<FeedPiece> pieces;
  const auto in_steps = [&](std::int64_t begin, std::int64_t end, std::int64_t step) {
    for (std::int64_t at = begin; at < end; at += step) pieces.push_back({at, std::min(end, at + step)});
  };
  switch (feed.mode) {
    case FeedMode::whole:
      in_steps(0, total, std::max<std::int64_t>(total, 1));
      break;
    case FeedMode::tokens:
      in_steps(0, total, 1);
      break;
    case FeedMode::chunk:
      in_steps(0, total, std::max<std::int64_t>(feed.chunk, 1));
      break;
    case FeedMode::turns:
      for (const Segment& part : script.segments)
        in_steps(part.begin, part.end, part.kind == Segment::Kind::answer ? 1 : part.end - part.begin);
      break;
    case FeedMode::off:
      for (const Segment& part : script.segments) {
        if (part.begin == part.end) continue;
        if (pieces.empty() || part.kind == Segment::Kind::prompt)
          pieces.push_back({part.begin, part.end, true});
        else
          pieces.back().end = part.end;
      }
      break;
  }
  return pieces;
}

std::int64_t pass_limit(const Feed& feed) {
  if (feed.mode == FeedMode::tokens) return 1;
  return feed.mode == FeedMode::chunk ? feed.chunk : std::numeric_limits<std::int64_t>::max();
}

}  // namespace tetrad::parity
