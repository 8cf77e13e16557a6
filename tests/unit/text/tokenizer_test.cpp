// The tokenizer against ids that Hugging Face tokenizers gave (tests/oracle/make_tokenizer_golden.py), and
// its own contract: bytes, ids, identity, incremental decoding.
#include "text/tokenizer.h"

#include "golden.h"
#include "text/incremental_decoder.h"
#include "text/utf8.h"

#include <gtest/gtest.h>

#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>

namespace tetrad::text {
namespace {

using Ids = std::vector<std::int32_t>;

Tokenizer make(const nlohmann::json& document) {
  return Tokenizer::parse(document.dump(), "t.json");
}

TEST(TokenizerGolden, IdsAsHuggingFaceGivesThem) {
  std::size_t cases = 0;
  for (const auto& variant : test::golden().at("variants")) {
    const Tokenizer tokenizer = make(test::patched(variant.at("patch")));
    for (const auto& entry : variant.at("cases")) {
      const std::string text =
          entry[0].is_string() ? entry[0].get<std::string>()
                               : test::golden().at("texts")[entry[0].get<std::size_t>()].get<std::string>();
      const Ids ids = entry[1].get<Ids>();
      const auto where = variant.at("name").get<std::string>() + ": " + text;
      EXPECT_EQ(tokenizer.encode(text), ids) << where;
      EXPECT_EQ(tokenizer.encode(text, /*parse_special=*/false), entry.size() > 2 ? entry[2].get<Ids>() : ids)
          << where;
      EXPECT_EQ(tokenizer.encode(text, true, /*add_special=*/true),
                entry.size() > 2 ? entry[3].get<Ids>() : ids)
          << where;
      ++cases;
    }
  }
  EXPECT_GT(cases, 400u);
}

// "ab" was a candidate before "bc" merged; it must not apply to the pair "a", "bc" that stands there now.
TEST(Tokenizer, OvertakenMergesDoNotApply) {
  nlohmann::json document = test::variant("bytes-only");
  document["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}, {"abc", 5}};
  // A nested brace list of string pairs would become an object.
  const auto pair = [](const char* left, const char* right) { return nlohmann::json::array({left, right}); };
  document["model"]["merges"] = nlohmann::json::array({pair("b", "c"), pair("a", "b"), pair("a", "bc")});
  const Tokenizer tokenizer = make(document);
  EXPECT_EQ(tokenizer.encode("abc"), Ids{5});
  EXPECT_EQ(tokenizer.encode("abab"), (Ids{3, 3}));
  EXPECT_EQ(tokenizer.encode("aabcb"), (Ids{0, 5, 1}));
}

TEST(Tokenizer, BytesRoundTrip) {
  const Tokenizer tokenizer = make(test::variant("gpt2"));
  std::mt19937 rng(3);
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (unsigned i = rng() % 60; i > 0; --i) {
      char32_t c = rng() % 4 ? rng() % 0x300 : rng() % 0x110000;
      if (c >= 0xD800 && c < 0xE000) c = 'x';
      append_utf8(text, c);
    }
    const Ids ids = tokenizer.encode(text);
    EXPECT_EQ(tokenizer.decode(ids), text);
    for (const auto invalid : {IncrementalDecoder::Invalid::keep, IncrementalDecoder::Invalid::replace}) {
      IncrementalDecoder decoder(tokenizer, true, invalid);
      std::string streamed;
      for (const auto id : ids) {
        const std::string part = decoder.feed(id);
        EXPECT_FALSE(validate_utf8(part).has_value());
        streamed += part;
      }
      EXPECT_EQ(streamed, text);
      EXPECT_EQ(decoder.finish(), 0u);
    }
  }
}

TEST(Tokenizer, LooksUpTokens) {
  const auto document = test::variant("smollm");
  const Tokenizer tokenizer = make(document);
  const auto vocab = static_cast<std::int32_t>(document["model"]["vocab"].size());
  EXPECT_EQ(tokenizer.vocab_size(), vocab + 4);
  EXPECT_EQ(tokenizer.token_to_id("<|im_start|>"), vocab);
  EXPECT_EQ(tokenizer.id_to_token(vocab + 1), "<|im_end|>");
  EXPECT_EQ(tokenizer.token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(vocab + 4), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(-1), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(vocab));
  EXPECT_FALSE(tokenizer.is_special(0));
  EXPECT_FALSE(tokenizer.is_special(-5));
  EXPECT_EQ(tokenizer.added_ids(), (Ids{vocab, vocab + 1, vocab + 2, vocab + 3}));
  EXPECT_EQ(tokenizer.identity(), sha256_hex(document.dump()));
  EXPECT_EQ(tokenizer.token_bytes(*tokenizer.token_to_id("\u0120")), " ");
  EXPECT_EQ(tokenizer.token_bytes(vocab + 100), "");
  EXPECT_EQ(tokenizer.decode(Ids{vocab, 0, vocab + 1}, /*skip_special=*/true), tokenizer.token_bytes(0));
  EXPECT_THROW(tokenizer.token_bytes(-1), Error);
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const Tokenizer tokenizer = make(test::variant("gpt2"));
  try {
    tokenizer.encode("abc\xff");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::usage);
    EXPECT_STREQ(e.what(), "[text] prompt is not valid UTF-8 at byte 3; save or send it as UTF-8");
  }
}

TEST(Tokenizer, LongRunsOfOneLetterTakeNoQuadraticTime) {
  const Tokenizer tokenizer = make(test::variant("qwen"));
  for (const std::string& unit :
       {std::string("a"), std::string(" "), std::string("\u0301"), std::string("\u4e2d")}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)),
              text);  // quadratic code would run into the test's time limit
  }
}

TEST(Tokenizer, ThreadsMayShareOne) {
  const Tokenizer tokenizer = make(test::variant("qwen"));
  const std::string text = "Several threads, one tokenizer: 12345 \u4f60\u597d <|im_end|>";
  const Ids expected = tokenizer.encode(text);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, copy = tokenizer] {
      for (int round = 0; round < 500; ++round) wrong += copy.encode(text) != expected;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

class Incremental : public ::testing::Test {
 protected:
  // Ids of single bytes, so that characters are cut at every place.
  std::string stream(const std::string& bytes, IncrementalDecoder& decoder) {
    std::string out;
    for (const char c : bytes) {
      const auto id = ids_[static_cast<unsigned char>(c)];
      out += decoder.feed(id);
    }
    return out;
  }
  Incremental() : tokenizer_(make(test::variant("smollm"))) {
    for (std::int32_t id = 0; id < tokenizer_.vocab_size(); ++id) {
      const std::string bytes = tokenizer_.token_bytes(id);
      if (bytes.size() == 1) ids_[static_cast<unsigned char>(bytes[0])] = id;
    }
  }
  Tokenizer tokenizer_;
  std::array<std::int32_t, 256> ids_{};
};

TEST_F(Incremental, WithholdsAnIncompleteEnd) {
  IncrementalDecoder decoder(tokenizer_);
  EXPECT_EQ(stream("ab\xf0\x9f\x99", decoder), "ab");
  EXPECT_EQ(decoder.finish(), 3u);
  EXPECT_EQ(stream("c", decoder), "c");
  EXPECT_EQ(decoder.finish(), 0u);
}

TEST_F(Incremental, InvalidBytesAreShownOrKept) {
  const std::string bytes =
      "a\xff\xe4\xb8"
      "b\xc0\x80\xed\xa0\x80z\xe4\xb8\xad";
  IncrementalDecoder shown(tokenizer_), kept(tokenizer_, true, IncrementalDecoder::Invalid::keep);
  EXPECT_EQ(stream(bytes, shown), lossy_utf8(bytes));
  EXPECT_EQ(stream(bytes, kept), bytes);
}

TEST_F(Incremental, SpecialTokensAreSkippedOnRequest) {
  const auto special = *tokenizer_.token_to_id("<|im_end|>");
  IncrementalDecoder skipping(tokenizer_), showing(tokenizer_, /*skip_special=*/false);
  EXPECT_EQ(skipping.feed(special), "");
  EXPECT_EQ(showing.feed(special), "<|im_end|>");
}

TEST_F(Incremental, RandomBytesEqualTheLossyWhole) {
  std::mt19937 rng(8);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(rng() % 12, '\0');
    for (char& c : bytes) c = static_cast<char>(rng() % 2 ? 0x80 + rng() % 0x80 : rng() % 0x100);
    IncrementalDecoder decoder(tokenizer_);
    const std::string out = stream(bytes, decoder);
    const std::size_t withheld = decoder.finish();
    EXPECT_EQ(out, lossy_utf8(bytes.substr(0, bytes.size() - withheld)));
    EXPECT_LE(withheld, 3u);
    EXPECT_TRUE(withheld == 0 ||
                decode_utf8(bytes, bytes.size() - withheld).status == Utf8Status::incomplete);
  }
}

}  // namespace
}  // namespace tetrad::text
