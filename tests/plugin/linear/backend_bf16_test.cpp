// backend-bf16: products against fp64 on the same weights, and what it refuses.
#include "backend_bf16.h"

#include <gtest/gtest.h>

#include <deque>

#include "linear_check.h"

namespace tetrad {
namespace {

using namespace linear_test;
using backend_bf16::BackendBf16;

LinearSetup setup(at::ScalarType dtype, Path path = Path::training) {
  LinearSetup s;
  s.path = path;
  s.dtype = dtype;
  return s;
}

TEST(BackendBf16, ProductsAgreeWithFp64) {
  at::manual_seed(1);
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const auto path : {Path::training, Path::bridge}) {
      for (const Case& c : {Case{dtype, path, 1, 64, {32}}, Case{dtype, path, 7, 33, {5, 1, 48}},
                            Case{dtype, path, 70, 128, {96, 31}}, Case{dtype, path, 0, 16, {4}},
                            Case{dtype, path, 3, 576, {700, 3, 1200}}, Case{dtype, path, 4, 95, {64}}}) {
        BackendBf16 backend;
        ok(backend.configure(setup(dtype, path)));
        std::deque<Parameter> parameters;
        std::vector<WeightId> ids;
        for (const std::int64_t n : c.n) {
          parameters.push_back(parameter("w" + std::to_string(n), random_weight(n, c.k, dtype)));
          WeightId id = -1;
          ok(backend.prepare(parameters.back(), id));
          ids.push_back(id);
          at::Tensor w;
          ok(backend.dequantized(id, w));
          EXPECT_TRUE(w.is_same(parameters.back().dense));  // no second copy
        }
        check_products(backend, ids, c);
        if (dtype == at::kBFloat16 && c.t <= 4) check_few_rows(backend, ids, c);
        EXPECT_EQ(backend.clear_eval_cache(), 0);
        EXPECT_EQ(backend.memory().weight_bytes, 0);
      }
    }
  }
}

TEST(BackendBf16, SeesWhatAnOptimizerWrites) {
  BackendBf16 backend;
  ok(backend.configure(setup(at::kFloat)));
  Parameter p = parameter("w", at::ones({2, 3}));
  WeightId id = -1;
  ok(backend.prepare(p, id));
  const std::uint64_t epoch = backend.weight_epoch();
  p.dense.mul_(2);
  ++p.version;
  const WeightId ids[] = {id};
  std::vector<at::Tensor> y;
  ok(backend.forward(ids, at::ones({1, 3}), Pass::eval, y));
  EXPECT_TRUE(at::equal(y[0], at::full({1, 2}, 6.0)));
  EXPECT_EQ(backend.weight_epoch(), epoch);
  p.dense = at::zeros({2, 3});
  EXPECT_NE(backend.weight_epoch(), epoch);
  ok(backend.forward(ids, at::ones({1, 3}), Pass::eval, y));
  EXPECT_TRUE(at::equal(y[0], at::zeros({1, 2})));
}

TEST(BackendBf16, RefusesByName) {
  BackendBf16 backend;
  Parameter p = parameter("model.layers.0.mlp.up_proj.weight", at::ones({4, 16}).to(at::kBFloat16));
  WeightId id = -1;
  EXPECT_EQ(backend.prepare(p, id).code, StatusCode::internal);  // before configure
  EXPECT_EQ(backend.capability(setup(at::kDouble)).support, Support::unsupported);
  EXPECT_EQ(backend.configure(setup(at::kDouble)).code, StatusCode::unsupported);
  ok(backend.configure(setup(at::kFloat)));
  const auto refused = [&](const char* words) {
    const Status status = backend.prepare(p, id);
    EXPECT_EQ(status.code, StatusCode::unsupported);
    EXPECT_NE(status.message.find("model.layers.0.mlp.up_proj.weight"), std::string::npos) << status.message;
    EXPECT_NE(status.message.find(words), std::string::npos) << status.message;
  };
  refused("BFloat16");
  p.format = Format::nvfp4_hi;
  refused("backend-nvfp4");
  p.format = Format::fp32;
  p.dense = at::ones({4});
  p.shape = {4};
  refused("matrix");
  EXPECT_EQ(id, -1);

  Parameter good = parameter("w", at::ones({4, 16}));
  ok(backend.prepare(good, id));
  std::vector<at::Tensor> y;
  const WeightId ids[] = {id};
  const WeightId unknown[] = {id + 1};
  EXPECT_EQ(backend.forward(unknown, at::ones({1, 16}), Pass::eval, y).code, StatusCode::internal);
  EXPECT_EQ(backend.forward(ids, at::ones({1, 15}), Pass::eval, y).code, StatusCode::internal);
  EXPECT_EQ(backend.forward(ids, at::ones({1, 16}).to(at::kBFloat16), Pass::eval, y).code,
            StatusCode::internal);
  at::Tensor dx;
  EXPECT_EQ(backend.grad_input(id, at::ones({1, 5}), dx).code, StatusCode::internal);
}

}  // namespace
}  // namespace tetrad
