// Scoring: every feed stores the logits of one whole pass, hidden states are those of the positions they
// name, and an iteration that differs in one bit is found at its position.
#include "parity/arm/score.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "io/safetensors.h"
#include "parity/arm/conversation.h"
#include "parity/arm/layer_recorder.h"
#include "support/error_text.h"
#include "support/tiny_rig.h"
#include "text/chat_template.h"

namespace tetrad::parity {
namespace {

using test::TinyRig;
using testing::HasSubstr;

constexpr const char* kFeeds[] = {"whole", "off", "turns", "tokens", "chunk:1", "chunk:5", "chunk:64"};

std::vector<std::int32_t> some_ids(std::size_t count, std::uint32_t seed) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    ids.push_back(static_cast<std::int32_t>(seed >> 24));
  }
  return ids;
}

Script some_script() {
  Script script;
  for (int turn = 1; turn <= 3; ++turn) {
    script.add(Segment::Kind::prompt, turn, some_ids(7, static_cast<std::uint32_t>(turn)));
    script.add(Segment::Kind::answer, turn, some_ids(4, static_cast<std::uint32_t>(turn) + 10));
    script.add(Segment::Kind::close, turn, {test::tiny_im_end, 10});
  }
  return script;
}

at::Tensor stored(const io::SafetensorsFile& file, const std::string& name) {
  const io::TensorView& view = file.at(name);
  const auto type = view.dtype == io::DType::i64 ? at::kLong : at::kFloat;
  at::Tensor copy = at::empty(view.shape, at::TensorOptions().dtype(type));
  std::memcpy(copy.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
  return copy;
}

// What transformers would give: all positions in one pass.
at::Tensor one_pass(const Script& script) {
  TinyRig rig;
  at::Tensor logits;
  rig.context().feed_all(script.ids, [&](std::int64_t, const at::Tensor& rows) { logits = rows.clone(); });
  return logits;
}

TEST(Score, EveryFeedAndPolicyStoresTheLogitsOfOnePass) {
  const Script script = some_script();
  const at::Tensor expected = one_pass(script);
  for (const std::uint32_t bits : {kv_retains | kv_lossless | kv_truncate, 0U}) {
    for (const char* feed : kFeeds) {
      for (const std::int64_t chunk : {3, 2048}) {
        TinyRig rig(test::tiny_config(), bits);
        auto context = rig.context(chunk);
        const ScoreResult result = score_script(context, script, parse_feed(feed), 2, test::tiny_vocab,
                                                rig.folder / "logits.safetensors", {});
        const auto file = io::SafetensorsFile::open(rig.folder / "logits.safetensors");
        const at::Tensor logits = stored(file, "logits");
        ASSERT_EQ(logits.sizes(), expected.sizes());
        EXPECT_TRUE(at::allclose(logits, expected, 1e-4, 1e-4)) << feed << " in passes of " << chunk;
        EXPECT_FALSE(result.first_difference) << feed;
        EXPECT_EQ(result.iterations, 2);
        ASSERT_EQ(result.first_token.size(), static_cast<std::size_t>(test::tiny_vocab));
        EXPECT_EQ(result.first_token[3], logits[6][3].item<float>()) << "position 6 ends the first prompt";
        const at::Tensor ids = stored(file, "input_ids");
        for (std::size_t i = 0; i < script.ids.size(); ++i)
          EXPECT_EQ(ids[static_cast<std::int64_t>(i)].item<std::int64_t>(), script.ids[i]);
      }
    }
  }
}

TEST(Score, OffComputesTheHistoryAgainAndTheOthersDoNot) {
  const Script script = some_script();
  const auto tokens_run = [&](const char* feed) {
    TinyRig rig;
    auto context = rig.context();
    feed_script(context, script, parse_feed(feed), [](std::int64_t, const at::Tensor&) {});
    std::int64_t sum = 0;
    for (const std::int64_t n : rig.kv.prepares) sum += n;
    return sum;
  };
  EXPECT_EQ(tokens_run("turns"), 39);
  EXPECT_EQ(tokens_run("tokens"), 39);
  EXPECT_EQ(tokens_run("off"), 13 + 26 + 39);
}

TEST(Score, AnIterationThatDiffersIsFoundAtItsPosition) {
  const Script script = some_script();
  TinyRig rig;
  auto context = rig.context();
  // After the first iteration one element of the head moves: every position differs; after a change that
  // only one token's embedding sees, those from its first use on.
  const std::int32_t late = script.ids[20];
  const auto first_use = std::find(script.ids.begin(), script.ids.end(), late) - script.ids.begin();
  std::int64_t pieces = 0;
  const ScoreResult result = score_script(context, script, parse_feed("tokens"), 5, test::tiny_vocab,
                                          rig.folder / "l.safetensors", {}, [&] {
                                            if (++pieces != 39 * 2 + 1) return;  // before the third iteration
                                            Parameter& embedding = rig.parameter("model.embed_tokens.weight");
                                            embedding.dense[late][0].add_(0.5);
                                            ++embedding.version;
                                          });
  ASSERT_TRUE(result.first_difference);
  EXPECT_EQ(result.first_difference->iteration, 3);
  EXPECT_EQ(result.first_difference->position, first_use);
  EXPECT_EQ(result.iterations, 3) << "nothing is gained by going on";
}

TEST(Layers, RowsAreThoseOfTheirPositionsHoweverTheyWereFed) {
  const Script script = some_script();
  const auto layers_of = [&](const char* feed, std::int64_t begin, std::uint32_t bits) {
    TinyRig rig(test::tiny_config(), bits);
    auto context = rig.context(6);
    LayerRecorder recorder(begin, 39);
    context.observe(&recorder);
    feed_script(context, script, parse_feed(feed), [](std::int64_t, const at::Tensor&) {});
    context.observe(nullptr);
    recorder.write(rig.folder / "layers.safetensors", {});
    const auto file = io::SafetensorsFile::open(rig.folder / "layers.safetensors");
    std::map<std::string, at::Tensor> tensors;
    for (const io::TensorView& t : file.tensors()) tensors[t.name] = stored(file, t.name);
    return tensors;
  };
  const std::uint32_t retains = kv_retains | kv_lossless | kv_truncate;
  const auto whole = layers_of("whole", 0, retains);
  const auto layers = test::tiny_config().at("num_hidden_layers").get<int>();
  ASSERT_TRUE(whole.contains("-01/00.embed_tokens"));
  ASSERT_TRUE(whole.contains("000/00.input_layernorm"));
  ASSERT_TRUE(whole.contains("000/13.residual"));
  ASSERT_TRUE(whole.contains("00" + std::to_string(layers) + "/00.norm"));
  EXPECT_EQ(whole.size(), static_cast<std::size_t>(layers * 14 + 3));
  for (const char* feed : kFeeds) {
    for (const std::uint32_t bits : {retains, 0U}) {
      const auto late = layers_of(feed, 25, bits);
      ASSERT_EQ(late.size(), whole.size());
      EXPECT_EQ(late.at("positions")[0].item<std::int64_t>(), 25);
      for (const auto& [name, rows] : late) {
        if (name == "positions") continue;
        ASSERT_EQ(rows.size(0), 14) << name;
        EXPECT_TRUE(at::allclose(rows, whole.at(name).narrow(0, 25, 14), 1e-4, 1e-4)) << feed << " " << name;
      }
    }
  }
}

TEST(Layers, PositionsThatWereNotSeenAreAnError) {
  TinyRig rig;
  auto context = rig.context();
  LayerRecorder recorder(0, 10);
  context.observe(&recorder);
  context.append(some_ids(9, 1));
  EXPECT_THAT(test::error_text([&] { recorder.write(rig.folder / "l.safetensors", {}); }),
              HasSubstr("9 of 10 positions"));
}

TEST(Conversation, TheScriptIsWhatWasSaidAndRepeatsToTheBit) {
  for (const char* feed : kFeeds) {
    TinyRig rig;
    auto context = rig.context();
    const auto tokenizer = text::Tokenizer::parse(test::tiny_tokenizer(), "tokenizer.json");
    const auto turns = text::TurnFormat::derive(text::ChatTemplate(test::chatml_template, "chat"), tokenizer);
    generate::GenerationOptions options{.max_tokens = 6};
    generate::ChatSession chat(context, tokenizer, turns, options, std::nullopt);
    const std::atomic<bool> interrupt{false};
    const std::vector<std::string> prompts = {"Hi", "more"};
    const auto played = play(chat, context, parse_feed(feed), prompts, interrupt);
    const Script script = script_of(played, context);
    EXPECT_EQ(script.ids, context.ledger());
    ASSERT_EQ(script.segments.size(), 6U);
    EXPECT_EQ(script.segments[4].end - script.segments[4].begin, 6);
    const auto again = play(chat, context, parse_feed(feed), prompts, interrupt);
    EXPECT_EQ(script_of(again, context).ids, script.ids) << feed;
    // Teacher-forced along its own answer, the largest logit is the token that was said.
    feed_script(context, script, parse_feed("turns"), [&](std::int64_t position, const at::Tensor& row) {
      for (const Segment& part : script.segments) {
        if (part.kind != Segment::Kind::answer || position + 1 < part.begin || position + 1 >= part.end)
          continue;
        EXPECT_EQ(row.argmax().item<std::int64_t>(), script.ids[static_cast<std::size_t>(position) + 1])
            << feed;
      }
    });
  }
}

TEST(Conversation, SpeedsAreMedians) {
  const Speed median = median_speed({{1, 10, 5}, {3, 30, 1}, {2, 20, 9}});
  EXPECT_EQ(median.ttft_s, 2);
  EXPECT_EQ(median.prefill_tok_s, 20);
  EXPECT_EQ(median.decode_tok_s, 5);
  EXPECT_EQ(median_speed({{1, 10, 5}, {2, 20, 9}}).ttft_s, 1.5);
}

}  // namespace
}  // namespace tetrad::parity
