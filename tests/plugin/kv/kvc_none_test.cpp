// kvc-none: a step sees what it wrote, and nothing survives it.
#include "kvc_none.h"

#include <gtest/gtest.h>

#include "kv_model.h"

namespace tetrad {
namespace {

using kv_test::random_step;
using kv_test::Step;

KvShape shape_of() {
  KvShape shape;
  shape.layers = 2;
  shape.kv_heads = 3;
  shape.head_dim = 4;
  shape.dtype = at::kFloat;
  shape.max_tokens = 50;
  return shape;
}

void ok(const Status& status) {
  ASSERT_TRUE(status.ok()) << status.message;
}

TEST(KvcNone, AStepSeesWhatItWroteAndNothingSurvivesIt) {
  const KvShape shape = shape_of();
  kvc_none::KvcNone kv;
  ok(kv.configure(shape));
  EXPECT_EQ(kv.capabilities() & kv_retains, 0U);
  for (const std::int64_t n : {7, 1, 50}) {
    KvReserve answer = KvReserve::full;
    ok(kv.prepare(n, answer));
    ASSERT_EQ(answer, KvReserve::ok);
    const Step first = random_step(shape, n), step = random_step(shape, n);
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      const auto i = static_cast<std::size_t>(layer);
      at::Tensor k, v;
      EXPECT_EQ(kv.view(layer, k, v).code, StatusCode::internal);
      ok(kv.write(layer, first.k[i], first.v[i]));
      ok(kv.write(layer, step.k[i], step.v[i]));
      ok(kv.view(layer, k, v));
      EXPECT_TRUE(at::equal(k, step.k[i].transpose(0, 1)));
      EXPECT_TRUE(at::equal(v, step.v[i].transpose(0, 1)));
    }
    EXPECT_EQ(kv.memory().used_bytes, kv.bytes_for(n));
    ok(kv.commit(n));
    EXPECT_EQ(kv.lengths().next_position, 0);
    EXPECT_EQ(kv.lengths().resident, 0);
    EXPECT_EQ(kv.memory().used_bytes, 0);
    at::Tensor k, v;
    EXPECT_FALSE(kv.view(0, k, v).ok());
  }
  EXPECT_EQ(kv.memory().peak_bytes, kv.bytes_for(50));
}

TEST(KvcNone, RefusesWhatNeedsAMemory) {
  const KvShape shape = shape_of();
  kvc_none::KvcNone kv;
  KvReserve answer = KvReserve::ok;
  EXPECT_EQ(kv.prepare(1, answer).code, StatusCode::internal);
  ok(kv.configure(shape));
  ok(kv.prepare(51, answer));
  EXPECT_EQ(answer, KvReserve::full);
  EXPECT_EQ(kv.commit(0).code, StatusCode::internal);
  ok(kv.prepare(2, answer));
  EXPECT_EQ(kv.prepare(2, answer).code, StatusCode::internal);
  const Step step = random_step(shape, 3);
  EXPECT_EQ(kv.write(0, step.k[0], step.v[0]).code, StatusCode::internal);
  EXPECT_EQ(kv.commit(3).code, StatusCode::internal);
  ok(kv.abort());
  ok(kv.truncate(0));
  ok(kv.reset());
  KvPolicy* copy = nullptr;
  const Status status = kv.fork(copy);
  EXPECT_EQ(status.code, StatusCode::unsupported);
  EXPECT_NE(status.message.find("kvc-persistent"), std::string::npos);
  EXPECT_EQ(copy, nullptr);
  EXPECT_EQ(kv.truncate(1).code, StatusCode::unsupported);
  EXPECT_EQ(kv.evict(0, 1).code, StatusCode::unsupported);
  at::Tensor bytes;
  EXPECT_EQ(kv.export_layer(0, bytes).code, StatusCode::unsupported);
  EXPECT_EQ(kv.begin_import(1).code, StatusCode::unsupported);
}

}  // namespace
}  // namespace tetrad
