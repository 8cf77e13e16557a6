// Every feed hands over every id once and in order, in the passes that its name says.
#include "parity/arm/feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parity/arm/script.h"

namespace tetrad::parity {
namespace {

using testing::ElementsAre;

std::vector<std::int32_t> numbers(std::int32_t count) {
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i < count; ++i) ids.push_back(i);
  return ids;
}

// Two turns; the second one's answer is empty.
Script two_turns() {
  Script script;
  script.add(Segment::Kind::prompt, 1, numbers(5));
  script.add(Segment::Kind::answer, 1, numbers(3));
  script.add(Segment::Kind::close, 1, numbers(2));
  script.add(Segment::Kind::prompt, 2, numbers(4));
  script.add(Segment::Kind::answer, 2, {});
  script.add(Segment::Kind::close, 2, numbers(2));
  return script;
}

TEST(Feed, EveryFeedCoversTheScriptOnceAndInOrder) {
  for (const char* text :
       {"off", "whole", "turns", "tokens", "chunk:1", "chunk:3", "chunk:16", "chunk:1000"}) {
    std::int64_t at = 0;
    for (const FeedPiece& piece : feed_pieces(parse_feed(text), two_turns())) {
      EXPECT_EQ(piece.begin, at) << text;
      EXPECT_LT(piece.begin, piece.end) << text;
      at = piece.end;
    }
    EXPECT_EQ(at, 16) << text;
  }
}

TEST(Feed, PiecesAreWhatTheNameSays) {
  EXPECT_THAT(feed_pieces(parse_feed("whole"), two_turns()), ElementsAre(FeedPiece{0, 16}));
  EXPECT_THAT(feed_pieces(parse_feed("chunk:7"), two_turns()),
              ElementsAre(FeedPiece{0, 7}, FeedPiece{7, 14}, FeedPiece{14, 16}));
  EXPECT_EQ(feed_pieces(parse_feed("tokens"), two_turns()).size(), 16U);
  EXPECT_THAT(feed_pieces(parse_feed("turns"), two_turns()),
              ElementsAre(FeedPiece{0, 5}, FeedPiece{5, 6}, FeedPiece{6, 7}, FeedPiece{7, 8},
                          FeedPiece{8, 10}, FeedPiece{10, 14}, FeedPiece{14, 16}));
  EXPECT_THAT(feed_pieces(parse_feed("off"), two_turns()),
              ElementsAre(FeedPiece{0, 10, true}, FeedPiece{10, 16, true}));
}

TEST(Feed, OnlyTokensAndChunksBoundAPass) {
  EXPECT_EQ(pass_limit(parse_feed("tokens")), 1);
  EXPECT_EQ(pass_limit(parse_feed("chunk:9")), 9);
  EXPECT_GT(pass_limit(parse_feed("turns")), 1'000'000'000);
}

}  // namespace
}  // namespace tetrad::parity
