// The context's promises: however tokens are fed, the logits are those of one full pass; what fails leaves
// the context as it was; a policy that breaks its contract is caught at the step where it does.
#include "generate/context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/arange.h>

#include <cmath>
#include <limits>

#include "support/error_text.h"
#include "support/tiny_rig.h"

namespace tetrad::generate {
namespace {

using test::error_text;
using test::FakeKv;
using test::TinyRig;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::int32_t> some_ids(std::size_t count, std::uint32_t seed = 5) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    ids.push_back(static_cast<std::int32_t>(seed >> 24));
  }
  return ids;
}

std::span<const std::int32_t> part(const std::vector<std::int32_t>& ids, std::size_t begin, std::size_t end) {
  return std::span(ids).subspan(begin, end - begin);
}

// Logits of the last of `ids` in one pass over an empty context.
at::Tensor whole(const std::vector<std::int32_t>& ids) {
  TinyRig rig;
  return rig.context().feed(ids);
}

void expect_same(const at::Tensor& a, const at::Tensor& b) {
  ASSERT_EQ(a.sizes(), b.sizes());
  EXPECT_TRUE(at::allclose(a, b, 1e-4, 1e-4)) << a.sub(b).abs().max().item<float>();
}

TEST(Context, ChunkedPrefillGivesTheLogitsOfOnePass) {
  const auto ids = some_ids(37);
  const at::Tensor expected = whole(ids);
  for (const std::int64_t chunk : {1, 2, 5, 36, 37, 38, 1000}) {
    TinyRig rig;
    auto context = rig.context(chunk);
    expect_same(context.feed(ids), expected);
    EXPECT_EQ(context.length(), 37);
    EXPECT_EQ(context.kv_lengths().next_position, 37);
    EXPECT_EQ(rig.kv.commits, (37 + chunk - 1) / chunk);
    for (const std::int64_t n : rig.kv.prepares) EXPECT_LE(n, chunk);
  }
}

TEST(Context, AnySplitOfFeedsAndAppendsGivesTheLogitsOfOnePass) {
  const auto ids = some_ids(23);
  const at::Tensor expected = whole(ids);
  TinyRig rig;
  auto context = rig.context(4);
  context.append(part(ids, 0, 7));
  context.append({});
  context.feed(part(ids, 7, 8));
  context.append(part(ids, 8, 17));
  expect_same(context.feed(part(ids, 17, 23)), expected);
  EXPECT_EQ(context.ledger(), ids);

  TinyRig single;
  auto one_by_one = single.context();
  at::Tensor logits;
  for (std::size_t i = 0; i < ids.size(); ++i) logits = one_by_one.feed(part(ids, i, i + 1));
  expect_same(logits, expected);
}

TEST(Context, AppendComputesNoHead) {
  TinyRig rig;
  auto context = rig.context();
  context.append(some_ids(5));
  for (const auto& names : rig.linear.forwards) EXPECT_THAT(names, Each(testing::Ne("lm_head.weight")));
  rig.linear.forwards.clear();
  context.feed(some_ids(5));
  EXPECT_THAT(rig.linear.forwards.back(), ElementsAre("lm_head.weight"));
}

TEST(Context, FeedAllVisitsEveryNewPositionOnceInOrder) {
  const auto ids = some_ids(19);
  TinyRig reference;
  auto full = reference.context();
  at::Tensor expected;
  full.feed_all(ids, [&](std::int64_t first, const at::Tensor& logits) {
    EXPECT_EQ(first, 0);
    expected = logits;
  });
  ASSERT_EQ(expected.sizes(), at::IntArrayRef({19, test::tiny_vocab}));
  for (const bool retains : {true, false}) {
    TinyRig rig(test::tiny_config(), retains ? kv_retains | kv_lossless | kv_truncate : 0U);
    auto context = rig.context(5);
    context.append(part(ids, 0, 6));
    std::int64_t next = 6;
    context.feed_all(part(ids, 6, 19), [&](std::int64_t first, const at::Tensor& logits) {
      EXPECT_EQ(first, next);
      expect_same(logits, expected.narrow(0, first, logits.size(0)));
      next += logits.size(0);
    });
    EXPECT_EQ(next, 19);
  }
}

TEST(Context, APolicyWithoutMemoryRecomputesTheWholeLedger) {
  const auto ids = some_ids(12);
  TinyRig rig(test::tiny_config(), 0);
  auto context = rig.context(5);
  EXPECT_FALSE(context.retains());
  context.feed(part(ids, 0, 10));
  expect_same(context.feed(part(ids, 10, 12)), whole(ids));
  EXPECT_THAT(rig.kv.prepares, ElementsAre(10, 12));
  context.truncate(3);
  EXPECT_EQ(context.length(), 3);
}

TEST(Context, TruncateAndResume) {
  const auto ids = some_ids(30);
  const at::Tensor expected = whole(ids);
  TinyRig rig;
  auto context = rig.context(8);
  context.feed(part(ids, 0, 20));
  context.feed(some_ids(9, 77));
  context.truncate(20);
  EXPECT_EQ(context.length(), 20);
  expect_same(context.feed(part(ids, 20, 30)), expected);

  context.truncate(30);  // nothing to forget
  EXPECT_EQ(context.length(), 30);
  context.reset();
  EXPECT_EQ(context.length(), 0);
  EXPECT_EQ(context.kv_lengths().next_position, 0);
  expect_same(context.feed(ids), expected);
  EXPECT_THAT(error_text([&] { context.truncate(31); }),
              HasSubstr("cannot truncate to 31 tokens: the context holds 30"));
  EXPECT_THAT(error_text([&] { context.truncate(-1); }), HasSubstr("cannot truncate to -1"));
}

TEST(Context, APolicyThatCannotTruncateIsRebuiltFromTheLedger) {
  const auto ids = some_ids(30);
  const at::Tensor expected = whole(ids);
  for (const std::uint32_t bits : {kv_retains | kv_lossless, static_cast<std::uint32_t>(kv_retains)}) {
    TinyRig rig(test::tiny_config(), bits);
    auto context = rig.context(8);
    EXPECT_FALSE(context.truncates());
    context.feed(part(ids, 0, 20));
    context.feed(some_ids(9, 77));
    context.truncate(25);
    context.truncate(20);
    EXPECT_EQ(context.length(), 20);
    EXPECT_EQ(rig.kv.resets, 0) << "only the next token pays for it";
    expect_same(context.feed(part(ids, 20, 30)), expected);
    EXPECT_EQ(rig.kv.resets, 1);
    EXPECT_EQ(context.kv_lengths().next_position, 30);

    context.truncate(30);  // nothing to forget: nothing to rebuild
    context.feed(some_ids(2, 5));
    EXPECT_EQ(rig.kv.resets, 1);

    // A step that fails after some of it was committed.
    context.truncate(10);
    rig.kv.fail_write_at = 20;
    EXPECT_THAT(error_text([&] { context.feed(part(ids, 10, 30)); }), HasSubstr("no room"));
    EXPECT_EQ(context.length(), 10);
    rig.kv.fail_write_at = FakeKv::never;
    expect_same(context.feed(part(ids, 10, 30)), expected);

    context.truncate(12);
    context.reset();
    expect_same(context.feed(ids), expected);
    EXPECT_EQ(rig.kv.truncates, 0) << "it is never asked for what it cannot do";
  }
}

TEST(Context, TheLimitIsRefusedWithNumbersBeforeAnythingRuns) {
  TinyRig rig;
  auto context = rig.context(8, 20);
  context.feed(some_ids(15));
  rig.kv.prepares.clear();
  try {
    context.feed(some_ids(6));
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_STREQ(
        error.what(),
        "[context] 15 tokens in the context + 6 new ones > limit of 20; shorten the prompt, start a new "
        "conversation or raise model.max_context");
  }
  EXPECT_TRUE(rig.kv.prepares.empty());
  EXPECT_EQ(context.length(), 15);
  context.feed(some_ids(5));  // exactly full
  EXPECT_EQ(context.length(), 20);
  EXPECT_THAT(error_text([&] { context.feed({}); }), HasSubstr("no tokens to feed"));
}

TEST(Context, APrefillIsAdmittedBeforeAnythingRuns) {
  TinyRig rig;
  std::vector<Prefill> asked;
  bool refuses = false;
  ContextOptions options{64, 8, true, [&](const Prefill& prefill) {
                           asked.push_back(prefill);
                           if (refuses) throw Error(ExitCode::usage, "too much");
                         }};
  Context context(*rig.transformer, rig.kv, options);
  context.feed(some_ids(20));
  context.feed(some_ids(1));  // a single token is not asked for
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].tokens, 20);
  EXPECT_EQ(asked[0].pass, 8);
  EXPECT_EQ(asked[0].logit_rows, 1);
  EXPECT_EQ(asked[0].kv_bytes, 200);
  refuses = true;
  rig.kv.prepares.clear();
  EXPECT_THAT(error_text([&] { context.feed_all(some_ids(5), [](std::int64_t, const at::Tensor&) {}); }),
              HasSubstr("too much"));
  EXPECT_EQ(asked[1].logit_rows, 5);
  EXPECT_TRUE(rig.kv.prepares.empty());
  EXPECT_EQ(context.length(), 21);
  refuses = false;
  const at::Tensor goes_on = context.feed(some_ids(3, 9)).clone();
  std::vector<std::int32_t> all = some_ids(20);
  for (const auto& more : {some_ids(1), some_ids(3, 9)}) all.insert(all.end(), more.begin(), more.end());
  expect_same(goes_on, whole(all));
}

TEST(Context, OptionsThatMakeNoSenseAreRefused) {
  TinyRig rig;
  EXPECT_THAT(error_text([&] { rig.context(0); }), HasSubstr("chunks of 0"));
  EXPECT_THAT(error_text([&] { rig.context(8, 0); }), HasSubstr("a limit of 0 tokens"));
}

// A failure in the middle of a chunked prefill: the chunks that were committed are taken back too.
TEST(Context, AFailedFeedLeavesTheContextAsItWas) {
  const auto ids = some_ids(30);
  const at::Tensor expected = whole(ids);
  TinyRig rig;
  auto context = rig.context(4);
  context.feed(part(ids, 0, 10));
  const auto expect_untouched = [&] {
    EXPECT_EQ(context.length(), 10);
    EXPECT_EQ(context.kv_lengths().next_position, 10);
  };
  rig.kv.fail_write_at = 20;
  EXPECT_EQ(error_text([&] { context.feed(part(ids, 10, 30)); }),
            "[kv_cache] write of layer 1: no room for these keys");
  expect_untouched();
  rig.kv.fail_write_at = FakeKv::never;

  rig.linear.fail_on = "model.layers.1.mlp.down_proj.weight";
  EXPECT_EQ(error_text([&] { context.feed(part(ids, 10, 30)); }),
            "[fake-linear] forward of model.layers.1.mlp.down_proj.weight: the product fell over");
  expect_untouched();
  rig.linear.fail_on = "lm_head.weight";
  EXPECT_THAT(error_text([&] { context.feed(part(ids, 10, 30)); }), HasSubstr("forward of lm_head.weight"));
  expect_untouched();
  rig.linear.fail_on = "model.embed_tokens.weight";
  EXPECT_THAT(error_text([&] { context.feed(part(ids, 10, 30)); }),
              HasSubstr("gather of model.embed_tokens.weight"));
  expect_untouched();
  rig.linear.fail_on.clear();

  EXPECT_THROW(context.feed_all(part(ids, 10, 30),
                                [](std::int64_t first, const at::Tensor&) {
                                  if (first > 14) throw std::runtime_error("the visitor has had enough");
                                }),
               std::runtime_error);
  expect_untouched();
  expect_same(context.feed(part(ids, 10, 30)), expected);
}

// When the policy cannot even take back what was committed, the cache is rebuilt from the ledger.
TEST(Context, ACacheThatCannotBeTakenBackIsRebuilt) {
  const auto ids = some_ids(30);
  const at::Tensor expected = whole(ids);
  TinyRig rig;
  auto context = rig.context(4);
  context.feed(part(ids, 0, 10));
  rig.kv.fail_write_at = 20;
  rig.kv.broken_truncate = true;
  EXPECT_THAT(error_text([&] { context.feed(part(ids, 10, 30)); }), HasSubstr("no room"));
  EXPECT_EQ(context.length(), 10);
  EXPECT_EQ(context.kv_lengths().next_position, 18) << "the cache is ahead: the fixture does its part";
  EXPECT_EQ(rig.kv.resets, 0);

  // The rebuild fails as well: still nothing is lost.
  rig.kv.fail_write_at = 6;
  EXPECT_THAT(error_text([&] { context.feed(part(ids, 10, 30)); }), HasSubstr("no room"));
  EXPECT_EQ(context.length(), 10);
  context.truncate(9);  // needs no help of the policy, for the cache is no longer believed
  EXPECT_EQ(context.length(), 9);

  rig.kv.fail_write_at = FakeKv::never;
  rig.kv.broken_truncate = false;
  expect_same(context.feed(part(ids, 9, 30)), expected);
  EXPECT_EQ(context.kv_lengths().next_position, 30);
}

TEST(Context, AFullPolicyIsReportedAndChangesNothing) {
  const auto ids = some_ids(12);
  TinyRig rig;
  auto context = rig.context(4);
  context.feed(part(ids, 0, 6));
  rig.kv.full_at = 9;
  EXPECT_EQ(error_text([&] { context.feed(part(ids, 6, 12)); }),
            "[kv_cache] the policy cannot hold 10 tokens; shorten the conversation");
  EXPECT_EQ(context.length(), 6);
  rig.kv.answer_when_full = KvReserve::would_evict;
  EXPECT_THAT(error_text([&] { context.feed(part(ids, 6, 12)); }),
              HasSubstr("cannot hold 10 tokens without evicting"));
  rig.kv.full_at = FakeKv::never;
  expect_same(context.feed(part(ids, 6, 12)), whole(ids));
}

TEST(Context, APolicyThatBreaksItsContractIsCaught) {
  const auto broken = [](const std::function<void(FakeKv&)>& breaks, std::int64_t chunk) {
    TinyRig rig;
    auto context = rig.context(chunk);
    context.feed(some_ids(6));
    breaks(rig.kv);
    return error_text([&] { context.feed(some_ids(6, 9)); });
  };
  for (const std::int64_t chunk : {4, 100}) {
    EXPECT_THAT(broken([](FakeKv& kv) { kv.forget_commit = true; }, chunk),
                AllOf(HasSubstr("the cache holds 6 tokens and continues at position 6"),
                      HasSubstr("broke its contract")));
    EXPECT_THAT(broken([](FakeKv& kv) { kv.lie_next = 1; }, chunk), HasSubstr("broke its contract"));
    EXPECT_THAT(broken([](FakeKv& kv) { kv.lie_next = -1; }, chunk), HasSubstr("broke its contract"));
    EXPECT_THAT(broken([](FakeKv& kv) { kv.lie_resident = -1; }, chunk), HasSubstr("broke its contract"));
    EXPECT_THAT(broken([](FakeKv& kv) { kv.lie_resident = 1; }, chunk), HasSubstr("broke its contract"));
  }
  // A policy that may drop tokens holds fewer, never more.
  TinyRig rig(test::tiny_config(), kv_retains | kv_truncate);
  auto context = rig.context();
  rig.kv.lie_resident = -2;
  context.feed(some_ids(6));
  rig.kv.lie_resident = 1;
  EXPECT_THAT(error_text([&] { context.feed(some_ids(1)); }), HasSubstr("broke its contract"));
}

TEST(Context, NewWeightsRebuildTheCache) {
  const auto ids = some_ids(14);
  TinyRig rig;
  auto context = rig.context(4);
  context.feed(part(ids, 0, 10));
  Parameter& weight = rig.parameter("model.layers.0.self_attn.k_proj.weight");
  weight.dense.mul_(-1.5);
  ++weight.version;
  const at::Tensor rebuilt = context.feed(part(ids, 10, 14));
  EXPECT_EQ(rig.kv.resets, 1);

  TinyRig fresh;
  fresh.parameter("model.layers.0.self_attn.k_proj.weight").dense.mul_(-1.5);
  expect_same(rebuilt, fresh.context().feed(ids));
  EXPECT_FALSE(at::allclose(rebuilt, whole(ids), 1e-3, 1e-3)) << "the weight matters";

  context.feed(some_ids(1));
  EXPECT_EQ(rig.kv.resets, 1) << "once is enough";
  ++weight.version;
  context.reset();
  context.feed(some_ids(2));
  EXPECT_EQ(rig.kv.resets, 2) << "an empty context has nothing to rebuild";
}

TEST(Context, ARebuildThatFailsLosesNothing) {
  const auto ids = some_ids(14);
  TinyRig rig;
  auto context = rig.context(4);
  context.feed(part(ids, 0, 10));
  ++rig.parameter("model.norm.weight").version;
  rig.kv.fail_write_at = 6;
  EXPECT_THAT(error_text([&] { context.feed(part(ids, 10, 14)); }), HasSubstr("no room"));
  EXPECT_EQ(context.length(), 10);
  rig.kv.fail_write_at = FakeKv::never;
  expect_same(context.feed(part(ids, 10, 14)), whole(ids));
  EXPECT_EQ(context.ledger(), ids);
}

struct Damage {
  std::string tensor;
  std::string named;
};

TEST(Context, NonFiniteWeightsNameTheFirstLayerAndTensor) {
  const std::vector<Damage> table = {
      {"model.layers.0.self_attn.v_proj.weight", "layer 0, tensor 'v_proj'"},
      {"model.layers.1.input_layernorm.weight", "layer 1, tensor 'input_layernorm'"},
      {"model.layers.1.self_attn.q_norm.weight", "layer 1, tensor 'q_rotated'"},
      {"model.layers.1.mlp.down_proj.weight", "layer 1, tensor 'down_proj'"},
      {"model.norm.weight", "layer 2, tensor 'norm'"},
      {"lm_head.weight", "layer 2, tensor 'lm_head'"},
      {"model.embed_tokens.weight", "before layer 0, tensor 'embed_tokens'"},
  };
  const auto ids = some_ids(11);
  for (const Damage& damage : table) {
    TinyRig rig;
    auto context = rig.context(4);
    context.feed(part(ids, 0, 5));
    at::Tensor& weight = rig.parameter(damage.tensor).dense;
    // Every row, so that whichever token comes meets it.
    weight.select(weight.dim() - 1, 3).fill_(std::numeric_limits<float>::quiet_NaN());
    try {
      context.feed(part(ids, 5, 11));
      ADD_FAILURE() << damage.tensor << ": not noticed";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::numerics);
      EXPECT_THAT(error.what(), HasSubstr("the first non-finite value is in " + damage.named + ";"));
    }
    EXPECT_EQ(context.length(), 5);
  }
}

// The search for the tensor starts from an empty cache and may end before it is full again.
TEST(Context, AfterANonFiniteLogitTheContextGoesOn) {
  const auto ids = some_ids(11);
  TinyRig rig;
  auto context = rig.context(2);
  context.feed(part(ids, 0, 7));
  at::Tensor& weight = rig.parameter("model.layers.0.mlp.up_proj.weight").dense;
  const at::Tensor good = weight.clone();
  weight.fill_(std::numeric_limits<float>::infinity());
  EXPECT_THAT(error_text([&] { context.feed(part(ids, 7, 11)); }), HasSubstr("layer 0, tensor 'up_proj'"));
  weight.copy_(good);
  EXPECT_EQ(context.length(), 7);
  expect_same(context.feed(part(ids, 7, 11)), whole(ids));
}

TEST(Context, TheCheckOfLogitsCanBeSwitchedOff) {
  TinyRig rig;
  auto context = rig.context(8, 256, /*check_logits=*/false);
  rig.parameter("lm_head.weight").dense.fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(std::isnan(context.feed(some_ids(3))[0].item<float>()));
}

}  // namespace
}  // namespace tetrad::generate
