// backend-nvfp4: stored weights against the plain codec bit for bit, products against fp64 on those weights,
// both paths against each other, the eval cache, and what it refuses.
#include "backend_nvfp4.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <tetrad/nvfp4/reference.h>

#include <deque>
#include <limits>
#include <memory>

#include "linear_check.h"

namespace tetrad {
namespace {

using namespace linear_test;
using backend_nvfp4::BackendNvfp4;

LinearSetup setup(at::ScalarType dtype, Path path = Path::training) {
  LinearSetup s;
  s.path = path;
  s.dtype = dtype;
  return s;
}

struct Choice {
  bool eval_cache = true;
  std::string compute = "auto", profile = "te", global = "power_of_two", head = "packed", embedding = "dense",
              forward = "hi+lo", residency = "auto";
};

Options options(const Choice& c = {}) {
  return Options({{"eval_cache", c.eval_cache},
                  {"residency", c.residency},
                  {"compute", c.compute},
                  {"activations", std::string("dense")},
                  {"profile", c.profile},
                  {"global_scale", c.global},
                  {"forward", c.forward},
                  {"head", c.head},
                  {"embedding", c.embedding}});
}

std::unique_ptr<BackendNvfp4> backend(const LinearSetup& s, const Choice& c = {}) {
  auto b = std::make_unique<BackendNvfp4>(options(c));
  ok(b->configure(s));
  return b;
}

// The stored weight in fp32 as the codec's plain reference sees it; w is fp32 here.
at::Tensor stored(const at::Tensor& w, const nvfp4::EncodeOptions& encode = {}) {
  const at::Tensor x = w.contiguous();
  const std::int64_t rows = x.size(0), cols = x.size(1), padded = nvfp4::packed_cols(cols);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * padded / 2)),
      scales(static_cast<std::size_t>(rows * padded / 16));
  at::Tensor out = at::empty({rows, cols}, at::kFloat);
  const auto run = [&](const auto* data) {
    const auto global = nvfp4::global_scale(nvfp4::reference::amax(data, rows, cols, cols).value, encode);
    nvfp4::reference::quantize(data, rows, cols, cols, global, encode, codes.data(), scales.data());
    nvfp4::reference::dequantize(codes.data(), scales.data(), global.decode, rows, cols,
                                 out.data_ptr<float>());
  };
  if (x.scalar_type() == at::kFloat)
    run(x.data_ptr<float>());
  else
    run(static_cast<const nvfp4::Bf16*>(x.const_data_ptr()));
  return out;
}

at::Tensor forward(BackendNvfp4& b, WeightId id, const at::Tensor& x, Pass pass = Pass::eval) {
  std::vector<at::Tensor> y;
  ok(b.forward({&id, 1}, x, pass, y));
  return y.empty() ? at::Tensor() : y[0];
}

WeightId prepared(BackendNvfp4& b, Parameter& p) {
  WeightId id = -1;
  ok(b.prepare(p, id));
  return id;
}

TEST(BackendNvfp4, ProductsAgreeWithFp64) {
  at::manual_seed(1);
  for (const char* compute : {"auto", "reference"}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const auto path : {Path::training, Path::bridge}) {
        for (const Case& c : {Case{dtype, path, 1, 64, {32}}, Case{dtype, path, 7, 33, {5, 1, 48}},
                              Case{dtype, path, 9, 17, {1}}, Case{dtype, path, 70, 128, {96, 31}},
                              Case{dtype, path, 0, 16, {4}}, Case{dtype, path, 3, 576, {700, 3, 1200}},
                              Case{dtype, path, 4, 95, {64}}}) {
          const auto b = backend(setup(dtype, path), {.compute = compute});
          std::deque<Parameter> parameters;
          std::vector<WeightId> ids;
          for (const std::int64_t n : c.n) {
            parameters.push_back(parameter("w" + std::to_string(n), random_weight(n, c.k, dtype)));
            ids.push_back(prepared(*b, parameters.back()));
          }
          check_products(*b, ids, c);
          if (std::string(compute) == "auto" && dtype == at::kBFloat16 && c.t <= 4)
            check_few_rows(*b, ids, c);
        }
      }
    }
  }
}

// More rows than one strip holds.
TEST(BackendNvfp4, StripsMakeOneProduct) {
  at::manual_seed(2);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto path : {Path::training, Path::bridge}) {
      const Case c{dtype, path, 12, 48, {90001}};
      const auto b = backend(setup(dtype, path));
      Parameter p = parameter("lm_head.weight", random_weight(c.n[0], c.k, dtype));
      check_products(*b, {prepared(*b, p)}, c);
      EXPECT_LE(b->memory().workspace_bytes, 16 << 20);
    }
  }
}

TEST(BackendNvfp4, StoredWeightsAreTheCodecs) {
  at::manual_seed(3);
  for (const auto from : {at::kFloat, at::kBFloat16}) {
    for (const auto to : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const auto path : {Path::training, Path::bridge}) {
        for (const char* profile : {"te", "torchao_inference", "modelopt", "compressed_tensors"}) {
          nvfp4::EncodeOptions encode;
          for (const auto each : {nvfp4::Profile::te, nvfp4::Profile::torchao_inference,
                                  nvfp4::Profile::modelopt, nvfp4::Profile::compressed_tensors})
            if (profile == std::string(backend_nvfp4::profile_name(each))) encode.profile = each;
          for (const char* global : {"power_of_two", "exact"}) {
            encode.global =
                global == std::string("exact") ? nvfp4::GlobalRule::exact : nvfp4::GlobalRule::power_of_two;
            const at::Tensor dense = random_weight(37, 83, from);
            dense[3].mul_(1e-4);
            dense[5].zero_();
            dense[7][11] = 3;
            const auto b = backend(setup(to, path), {.profile = profile, .global = global});
            Parameter p = parameter("w", dense.clone());
            const WeightId id = prepared(*b, p);
            const at::Tensor expected = stored(dense, encode);
            at::Tensor w;
            ok(b->dequantized(id, w));
            EXPECT_TRUE(at::equal(w, expected.to(to))) << profile << " " << global;
            EXPECT_EQ(p.dense.defined(), path == Path::training);
            EXPECT_EQ(p.format == Format::nvfp4_hi, path == Path::bridge);
            // A foreign scale must act on the fp32 sum, also when the weight is 16 bits.
            for (const std::int64_t t : {2, 30}) {
              const at::Tensor x = at::randn({t, 83}).to(to);
              expect_product(forward(*b, id, x), x.to(at::kDouble), expected.to(at::kDouble).t(), "forward");
              const at::Tensor dy = at::randn({t, 37}).to(to);
              at::Tensor dx;
              ok(b->grad_input(id, dy, dx));
              expect_product(dx, dy.to(at::kDouble), expected.to(at::kDouble), "grad_input");
            }
          }
        }
      }
    }
  }
}

// fp16 has few exponents: a small weight's global scale would make subnormals of it, and a large one's
// product without the scale does not fit. Both act on the fp32 sum instead.
TEST(BackendNvfp4, Fp16KeepsSmallAndLargeWeightsExact) {
  at::manual_seed(12);
  for (const double size : {1e-4, 1e-2, 1.0, 1e3}) {
    for (const auto path : {Path::training, Path::bridge}) {
      const at::Tensor dense = (at::randn({40, 200}) * at::exp(at::randn({40, 200})) * size).to(at::kFloat);
      const auto b = backend(setup(at::kHalf, path));
      Parameter p = parameter("w", dense.clone());
      const WeightId id = prepared(*b, p);
      const at::Tensor expected = stored(dense);
      for (const std::int64_t t : {3, 30}) {
        const at::Tensor x = (at::randn({t, 200}) / std::max(size, 1.0)).to(at::kHalf);
        expect_product(forward(*b, id, x), x.to(at::kDouble), expected.to(at::kDouble).t(), "forward");
      }
    }
  }
}

TEST(BackendNvfp4, PathsAgree) {
  at::manual_seed(4);
  for (const auto& [n, k] :
       {std::pair<std::int64_t, std::int64_t>{96, 576}, {33, 1001}, {1, 16}, {50000, 64}}) {
    const at::Tensor dense = random_weight(n, k, at::kBFloat16).to(at::kFloat);
    const auto training = backend(setup(at::kFloat, Path::training));
    const auto bridge = backend(setup(at::kFloat, Path::bridge));
    Parameter a = parameter("w", dense.clone()), b = parameter("w", dense.clone());
    const WeightId ia = prepared(*training, a), ib = prepared(*bridge, b);
    for (const std::int64_t t : {1, 8, 24, 25, 40}) {
      const at::Tensor x = at::randn({t, k});
      const at::Tensor ya = forward(*training, ia, x), yb = forward(*bridge, ib, x);
      EXPECT_LE(((ya - yb).norm() / ya.norm()).item<double>(), 1e-6);
      // Elementwise against the sum's own size: a result may cancel to anything.
      at::Tensor w;
      ok(training->dequantized(ia, w));
      const at::Tensor size = at::mm(x.abs(), w.abs().t());
      EXPECT_LE(((ya - yb).abs() / (size + 1e-30)).max().item<double>(), 1e-6);
    }
    EXPECT_EQ(bridge->memory().eval_cache_bytes, 0);
  }
}

TEST(BackendNvfp4, EvalCacheChangesNoBit) {
  at::manual_seed(5);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor dense = random_weight(50001, 48, dtype);
    const auto with = backend(setup(dtype)), without = backend(setup(dtype), {.eval_cache = false});
    Parameter a = parameter("w", dense.clone()), b = parameter("w", dense.clone());
    const WeightId ia = prepared(*with, a), ib = prepared(*without, b);
    for (const std::int64_t t : {1, 3, 30}) {
      const at::Tensor x = at::randn({t, 48}).to(dtype);
      const at::Tensor y = forward(*with, ia, x);
      EXPECT_TRUE(at::equal(y, forward(*with, ia, x)));
      EXPECT_TRUE(at::equal(y, forward(*without, ib, x)));
      EXPECT_TRUE(at::equal(y, forward(*with, ia, x, Pass::train)));
    }
    const auto bytes = static_cast<std::int64_t>(dense.nbytes());
    EXPECT_EQ(with->memory().eval_cache_bytes, bytes);
    EXPECT_EQ(without->memory().eval_cache_bytes, 0);
    const std::uint64_t epoch = with->weight_epoch();
    EXPECT_EQ(with->clear_eval_cache(), bytes);
    EXPECT_NE(with->weight_epoch(), epoch);
    EXPECT_EQ(with->memory().eval_cache_bytes, 0);
    EXPECT_EQ(with->clear_eval_cache(), 0);
    EXPECT_EQ(without->clear_eval_cache(), 0);
  }
}

TEST(BackendNvfp4, TrainingPassLeavesTheCacheAlone) {
  const auto b = backend(setup(at::kFloat));
  Parameter p = parameter("w", at::randn({32, 32}));
  const WeightId id = prepared(*b, p);
  forward(*b, id, at::randn({2, 32}), Pass::train);
  EXPECT_EQ(b->memory().eval_cache_bytes, 0);
}

TEST(BackendNvfp4, AVersionMakesTheCacheStale) {
  at::manual_seed(6);
  const auto b = backend(setup(at::kFloat));
  Parameter p = parameter("w", at::randn({40, 32}));
  const WeightId id = prepared(*b, p);
  const at::Tensor x = at::randn({2, 32}), ids = at::arange(40);
  const at::Tensor before = forward(*b, id, x);
  const std::uint64_t epoch = b->weight_epoch();
  p.dense.mul_(-100);  // the global scale changes as well
  ++p.version;
  at::Tensor rows, w;
  ok(b->gather(id, ids, rows));
  EXPECT_TRUE(at::equal(rows, stored(p.dense)));
  EXPECT_TRUE(at::allclose(forward(*b, id, x), at::mm(x, stored(p.dense).t()), 1e-5, 1e-3));
  ok(b->gather(id, ids, rows));  // out of the cache now
  EXPECT_TRUE(at::equal(rows, stored(p.dense)));
  ok(b->dequantized(id, w));
  EXPECT_TRUE(at::equal(w, rows));
  EXPECT_EQ(b->weight_epoch(), epoch);  // the cache was filled in place
  EXPECT_FALSE(at::equal(before, forward(*b, id, x)));
}

TEST(BackendNvfp4, GradientsAreAutogradsOfTheStoredWeight) {
  at::manual_seed(7);
  const auto b = backend(setup(at::kFloat));
  Parameter p = parameter("w", at::randn({24, 40}));
  const WeightId id = prepared(*b, p);
  const at::Tensor w = stored(p.dense).to(at::kDouble).set_requires_grad(true);
  const at::Tensor x = at::randn({6, 40}), dy = at::randn({6, 24});
  const at::Tensor xd = x.to(at::kDouble).set_requires_grad(true);
  at::mm(xd, w.t()).backward(dy.to(at::kDouble));
  at::Tensor dx, dw;
  ok(b->grad_input(id, dy, dx));
  ok(b->grad_weight(id, dy, x, dw));
  EXPECT_TRUE(at::allclose(dx.to(at::kDouble), xd.grad(), 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(dw.to(at::kDouble), w.grad(), 1e-5, 1e-5));
}

TEST(BackendNvfp4, HeadAndEmbeddingFollowTheirOptions) {
  at::manual_seed(8);
  const at::Tensor dense = random_weight(64, 32, at::kBFloat16);
  const auto packed = [&](const Choice& choice, const char* name, Role role, int contributions) {
    const auto b = backend(setup(at::kBFloat16, Path::bridge), choice);
    Parameter p = parameter(name, dense.clone(), role, contributions);
    const WeightId id = prepared(*b, p);
    check_products(*b, {id}, {at::kBFloat16, Path::bridge, 5, 32, {64}});
    at::Tensor w;
    ok(b->dequantized(id, w));
    EXPECT_EQ(at::equal(w, dense), p.dense.defined());
    return !p.dense.defined();
  };
  const char* embedding = "model.embed_tokens.weight";
  EXPECT_TRUE(packed({}, "lm_head.weight", Role::linear, 1));
  EXPECT_FALSE(packed({.head = "dense"}, "lm_head.weight", Role::linear, 1));
  EXPECT_TRUE(packed({}, embedding, Role::embedding, 2));  // tied: it is the head
  EXPECT_FALSE(packed({.head = "dense"}, embedding, Role::embedding, 2));
  EXPECT_FALSE(packed({}, embedding, Role::embedding, 1));
  EXPECT_TRUE(packed({.embedding = "packed"}, embedding, Role::embedding, 1));
}

TEST(BackendNvfp4, TakesPlanesOnBothPaths) {
  at::manual_seed(9);
  const auto first = backend(setup(at::kFloat, Path::bridge));
  Parameter p = parameter("w", random_weight(48, 33, at::kFloat));
  at::Tensor w, again;
  ok(first->dequantized(prepared(*first, p), w));
  for (const auto path : {Path::training, Path::bridge}) {
    const auto b = backend(setup(at::kFloat, path));
    const WeightId id = prepared(*b, p);
    ok(b->dequantized(id, again));
    EXPECT_TRUE(at::equal(w, again));
    check_products(*b, {id}, {at::kFloat, path, 4, 33, {48}});
  }
  WeightId id = -1;
  for (const int bad : {0x7F, 0x81}) {
    Parameter broken = p;
    broken.planes.scales = p.planes.scales.clone();
    broken.planes.scales[47][2] = bad;
    const Status refused = first->prepare(broken, id);
    EXPECT_EQ(refused.code, StatusCode::numerics);
    EXPECT_NE(refused.message.find(bad == 0x7F ? "'w' is NaN" : "'w' is negative"), std::string::npos)
        << refused.message;
  }
  p.planes.scales = p.planes.scales.narrow(1, 0, 2);
  const Status status = first->prepare(p, id);
  EXPECT_EQ(status.code, StatusCode::unsupported);
  EXPECT_NE(status.message.find("block scales of 'w'"), std::string::npos) << status.message;
}

// hi + lo planes [and lo2] of a random matrix; decode_scale 0: the power of two that belongs to it.
Parameter tied_planes(std::int64_t n, std::int64_t k, float decode_scale = 0, bool three = false) {
  const at::Tensor dense = at::randn({n, k}) * 0.05;
  auto global = nvfp4::power_of_two_scale(dense.abs().max().item<float>());
  if (decode_scale != 0) global = {1 / decode_scale, decode_scale};
  const std::int64_t padded = nvfp4::packed_cols(k);
  Parameter p;
  p.name = "w";
  p.shape = {n, k};
  p.format = three ? Format::nvfp4_hi_lo_lo2 : Format::nvfp4_hi_lo;
  p.planes = {at::empty({n, padded / 2}, at::kByte), at::empty({n, padded / 16}, at::kByte), global.decode,
              at::empty({n, padded / 2}, at::kByte),
              three ? at::empty({n, padded / 2}, at::kByte) : at::Tensor()};
  nvfp4::quantize_planes(dense.data_ptr<float>(), n, k, k, global, {},
                         {p.planes.codes.data_ptr<std::uint8_t>(), p.planes.scales.data_ptr<std::uint8_t>(),
                          p.planes.lo_codes.data_ptr<std::uint8_t>(),
                          three ? p.planes.lo2_codes.data_ptr<std::uint8_t>() : nullptr});
  return p;
}

// Its values in double without the decode scale, as one rounding to `dtype` leaves them: by the codec of a
// single plane alone.
at::Tensor unscaled_values(const Parameter& p, bool lo, at::ScalarType dtype) {
  const auto plane = [&](const at::Tensor& codes) {
    const at::Tensor out = at::empty({p.shape[0], p.shape[1]});
    nvfp4::reference::dequantize(codes.data_ptr<std::uint8_t>(), p.planes.scales.data_ptr<std::uint8_t>(),
                                 1.0F, p.shape[0], p.shape[1], out.data_ptr<float>());
    return out.to(at::kDouble);
  };
  at::Tensor sum = plane(p.planes.codes);
  if (lo) sum = sum + plane(p.planes.lo_codes) / 4;
  if (lo && p.planes.lo2_codes.defined()) sum = sum + plane(p.planes.lo2_codes) / 16;
  return sum.to(at::kFloat).to(dtype).to(at::kDouble);
}

TEST(BackendNvfp4, TiedPlanesAreOneWeightEverywhere) {
  at::manual_seed(13);
  for (const char* compute : {"auto", "reference"}) {
    for (const char* what : {"hi+lo", "hi"}) {
      for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
        for (const auto path : {Path::training, Path::bridge}) {
          for (const float scale : {0.0F, -1.0F, 0.00123F}) {  // a foreign one is the product's alpha
            const auto b = backend(setup(dtype, path), {.compute = compute, .forward = what});
            Parameter p = tied_planes(48, 83, std::max(scale, 0.0F), scale != 0.0F);
            const WeightId id = prepared(*b, p);
            const at::Tensor weight =
                unscaled_values(p, what == std::string("hi+lo"), dtype) * p.planes.decode_scale;
            at::Tensor w;
            ok(b->dequantized(id, w));
            EXPECT_TRUE(at::equal(w, weight.to(at::kFloat).to(dtype))) << what << " " << scale;
            EXPECT_FALSE(p.dense.defined());
            EXPECT_TRUE(p.format == (scale == 0.0F ? Format::nvfp4_hi_lo : Format::nvfp4_hi_lo_lo2));
            for (const std::int64_t t : {1, 4, 30}) {
              if (scale <= 0.0F) check_products(*b, {id}, {dtype, path, t, 83, {48}});
              const at::Tensor x = at::randn({t, 83}).to(dtype), dy = at::randn({t, 48}).to(dtype);
              expect_product(forward(*b, id, x), x.to(at::kDouble), weight.t(), "forward");
              at::Tensor dx;
              ok(b->grad_input(id, dy, dx));
              expect_product(dx, dy.to(at::kDouble), weight, "grad_input");
            }
          }
        }
      }
    }
  }
}

// Both paths, and the training path with and without its cache, give the same bits where the same product
// runs.
TEST(BackendNvfp4, TwoPlanesOnBothPathsAndInTheCache) {
  at::manual_seed(14);
  Parameter p = tied_planes(70, 96);
  const auto training = backend(setup(at::kBFloat16));
  const auto uncached = backend(setup(at::kBFloat16), {.eval_cache = false});
  const auto bridge = backend(setup(at::kBFloat16, Path::bridge));
  const WeightId a = prepared(*training, p), b = prepared(*uncached, p), c = prepared(*bridge, p);
  for (const std::int64_t t : {1, 3, 40}) {
    const at::Tensor x = at::randn({t, 96}).to(at::kBFloat16);
    const at::Tensor y = forward(*training, a, x);
    EXPECT_TRUE(at::equal(y, forward(*training, a, x, Pass::train)));
    EXPECT_TRUE(at::equal(y, forward(*uncached, b, x)));
    EXPECT_TRUE(at::equal(y, forward(*bridge, c, x)));
  }
  EXPECT_EQ(training->memory().eval_cache_bytes, 70 * 96 * 2);
  EXPECT_EQ(bridge->memory().eval_cache_bytes, 0);
  // What an optimizer writes is seen once the version says so; the lo plane alone is enough.
  const at::Tensor x = at::randn({2, 96}).to(at::kBFloat16);
  const at::Tensor before = forward(*training, a, x);
  const std::uint64_t epoch = training->weight_epoch();
  p.planes.lo_codes.copy_(at::randint(0, 256, p.planes.lo_codes.sizes(), at::kByte));
  ++p.version;
  EXPECT_EQ(training->weight_epoch(), epoch);
  const at::Tensor after = forward(*training, a, x);
  EXPECT_FALSE(at::equal(before, after));
  EXPECT_TRUE(at::equal(after, forward(*bridge, c, x)));
  p.planes.lo_codes = p.planes.lo_codes.clone();
  EXPECT_NE(training->weight_epoch(), epoch);  // another address
}

TEST(BackendNvfp4, TwoPlanesOnTheBridgeStayInTheWorkspace) {
  at::manual_seed(15);
  Parameter p = tied_planes(90001, 48);
  const auto b = backend(setup(at::kBFloat16, Path::bridge));
  check_products(*b, {prepared(*b, p)}, {at::kBFloat16, Path::bridge, 1, 48, {90001}});
  EXPECT_LE(b->memory().workspace_bytes, 16 << 20);
  EXPECT_EQ(b->memory().weight_bytes, 0);
}

TEST(BackendNvfp4, TwoPlanesAreChecked) {
  const auto b = backend(setup(at::kBFloat16));
  WeightId id = -1;
  Parameter p = tied_planes(4, 32);
  p.planes.lo_codes = p.planes.lo_codes.narrow(1, 0, 8);
  const Status status = b->prepare(p, id);
  EXPECT_EQ(status.code, StatusCode::unsupported);
  EXPECT_NE(status.message.find("lo codes of 'w'"), std::string::npos) << status.message;
  EXPECT_THROW(BackendNvfp4(options({.forward = "lo"})), StatusError);
}

TEST(BackendNvfp4, AtenCodecReadsTiedPlanesAsTheCodecDoes) {
  at::manual_seed(16);
  const backend_nvfp4::AtenCodec aten(at::kCPU);
  const backend_nvfp4::TensorCodec codec({}, false, at::kCPU);
  for (const bool three : {false, true}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const Parameter p = tied_planes(37, 83, 0, three);
      const backend_nvfp4::PlaneTensors planes{p.planes.codes, p.planes.scales, p.planes.lo_codes,
                                               p.planes.lo2_codes};
      const at::Tensor a = at::empty({37, 83}, dtype), b = at::empty({37, 83}, dtype);
      aten.dequantize(planes, p.planes.decode_scale, a);
      codec.dequantize(planes, p.planes.decode_scale, b);
      EXPECT_TRUE(at::equal(a, b));
    }
  }
}

// What a CUDA device computes, spelled in ATen operations, on CPU tensors.
TEST(BackendNvfp4, AtenCodecIsTheCodec) {
  at::manual_seed(10);
  const backend_nvfp4::AtenCodec aten(at::kCPU);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{64, 96}, {7, 33}, {1, 1}}) {
      for (const double size : {1.0, 1e-3, 1e20, 1e-30}) {
        for (const auto rule : {nvfp4::GlobalRule::power_of_two, nvfp4::GlobalRule::exact}) {
          const at::Tensor w = (at::randn({n, k}) * at::exp(at::randn({n, 1}) * 4) * size).to(dtype);
          if (n > 5) w[5].zero_();
          if (n > 6) w[6].div_(w[6].abs().max()).mul_(6 * w.abs().max()).mul_(0.25).round_();
          const nvfp4::EncodeOptions encode{nvfp4::Profile::te, rule, nvfp4::BlockShape::row16};
          const auto amax = backend_nvfp4::aten_amax(w);
          ASSERT_EQ(amax.first_bad, -1);
          EXPECT_EQ(amax.value, w.abs().max().item<float>());
          const auto global = nvfp4::global_scale(amax.value, encode);
          const at::Tensor expected = stored(w, encode);
          at::Tensor out = at::empty({n, k});
          aten.requantize(w, global, global.decode, out);
          EXPECT_TRUE(at::equal(out, expected)) << size;
          const std::int64_t padded = nvfp4::packed_cols(k);
          const at::Tensor codes = at::empty({n, padded / 2}, at::kByte),
                           scales = at::empty({n, padded / 16}, at::kByte);
          aten.quantize(w, global, codes, scales);
          const backend_nvfp4::TensorCodec codec(encode, false, at::kCPU);
          const at::Tensor codes2 = at::empty_like(codes), scales2 = at::empty_like(scales);
          codec.quantize(w, global, codes2, scales2);
          EXPECT_TRUE(at::equal(codes, codes2)) << size;
          EXPECT_TRUE(at::equal(scales, scales2)) << size;
          out.zero_();
          aten.dequantize({codes, scales, {}, {}}, global.decode, out);
          EXPECT_TRUE(at::equal(out, expected)) << size;
        }
      }
    }
  }
}

TEST(BackendNvfp4, RefusesNonFiniteWeightsByName) {
  for (const auto path : {Path::training, Path::bridge}) {
    for (const float bad :
         {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
      const auto b = backend(setup(at::kFloat, path));
      Parameter p = parameter("model.layers.3.mlp.up_proj.weight", at::ones({70, 33}));
      p.dense[69][32] = bad;
      WeightId id = -1;
      const Status status = b->prepare(p, id);
      EXPECT_EQ(status.code, StatusCode::numerics);
      EXPECT_NE(status.message.find("model.layers.3.mlp.up_proj.weight"), std::string::npos)
          << status.message;
      EXPECT_NE(status.message.find("row 69, column 32"), std::string::npos) << status.message;
      EXPECT_TRUE(p.dense.defined());
      EXPECT_EQ(id, -1);
    }
  }
  // Later, after an optimizer's write.
  const auto b = backend(setup(at::kFloat));
  Parameter p = parameter("w", at::ones({4, 16}));
  const WeightId id = prepared(*b, p);
  p.dense[1][2] = std::numeric_limits<float>::quiet_NaN();
  ++p.version;
  std::vector<at::Tensor> y;
  for (const Pass pass : {Pass::eval, Pass::train})
    EXPECT_EQ(b->forward({&id, 1}, at::ones({1, 16}), pass, y).code, StatusCode::numerics);
}

// Where nothing is trained the training path holds planes: the same bits in every product and lookup, for
// every choice of cache, head and embedding, and a quarter of the bytes.
TEST(BackendNvfp4, SamplingHoldsPlanesAndChangesNoBit) {
  at::manual_seed(31);
  for (const auto dtype : {at::kBFloat16, at::kHalf, at::kFloat}) {
    for (const char* word : {"packed", "dense"}) {
      for (const char* global : {"power_of_two", "exact"}) {
        for (const char* compute : {"auto", "reference"}) {
          for (const bool cache : {true, false}) {
            Choice c{
                .eval_cache = cache, .compute = compute, .global = global, .head = word, .embedding = word};
            LinearSetup sampling = setup(dtype);
            sampling.trainable = false;
            const auto trained = backend(setup(dtype), c), sampled = backend(sampling, c);
            c.residency = "dense";
            const auto kept = backend(sampling, c);
            std::deque<Parameter> of_trained, of_sampled, of_kept;
            // A few rows, more than one strip, an embedding, a tied head.
            const bool strips = dtype == at::kBFloat16 && c.compute == "auto" && c.global == "exact";
            const std::int64_t k = 83;
            const auto add = [&](const char* name, std::int64_t n, Role role, int uses) {
              const at::Tensor dense = random_weight(n, k, dtype);
              for (auto* to : {&of_trained, &of_sampled, &of_kept})
                to->push_back(parameter(name, dense.clone(), role, uses));
              const WeightId id = prepared(*trained, of_trained.back());
              EXPECT_EQ(prepared(*sampled, of_sampled.back()), id);
              EXPECT_EQ(prepared(*kept, of_kept.back()), id);
              const bool packed = role == Role::linear || word == std::string("packed");
              EXPECT_TRUE(of_trained.back().dense.defined());
              EXPECT_TRUE(of_kept.back().dense.defined());
              EXPECT_EQ(of_sampled.back().dense.defined(), !packed);
              EXPECT_EQ(of_sampled.back().format == Format::nvfp4_hi, packed);
              return id;
            };
            const WeightId ids[] = {add("w", 37, Role::linear, 1),
                                    add("v", strips ? 26001 : 90, Role::linear, 1),
                                    add("model.embed_tokens.weight", 40, Role::embedding, 1),
                                    add("model.embed_tokens.weight", 41, Role::embedding, 2)};
            const at::Tensor rows = at::tensor({3, 0, 36, 3, 17}, at::kLong);
            for (const WeightId id : ids) {
              const std::int64_t n = of_trained[static_cast<std::size_t>(id)].shape[0];
              at::Tensor first, second;
              ok(trained->gather(id, rows, first));
              ok(sampled->gather(id, rows, second));
              ASSERT_TRUE(at::equal(first, second));
              for (const std::int64_t t : {1, 4, 30}) {
                const at::Tensor x = at::randn({t, k}).to(dtype), dy = at::randn({t, n}).to(dtype);
                for (const Pass pass : {Pass::eval, Pass::train}) {
                  const at::Tensor y = forward(*trained, id, x, pass);
                  ASSERT_TRUE(at::equal(y, forward(*sampled, id, x, pass))) << n << " " << t;
                  ASSERT_TRUE(at::equal(y, forward(*kept, id, x, pass))) << n << " " << t;
                }
                ok(trained->grad_input(id, dy, first));
                ok(sampled->grad_input(id, dy, second));
                ASSERT_TRUE(at::equal(first, second));
                ok(trained->grad_weight(id, dy, x, first));
                ok(sampled->grad_weight(id, dy, x, second));
                ASSERT_TRUE(at::equal(first, second));
              }
              ok(trained->gather(id, rows, first));  // with the cache filled, where there is one
              ok(sampled->gather(id, rows, second));
              ASSERT_TRUE(at::equal(first, second));
              ok(trained->dequantized(id, first));
              ok(sampled->dequantized(id, second));
              ASSERT_TRUE(at::equal(first, second));
            }
            EXPECT_EQ(sampled->memory().eval_cache_bytes, trained->memory().eval_cache_bytes);
          }
        }
      }
    }
  }
}

TEST(BackendNvfp4, ResidencyThatCannotBeIsRefused) {
  LinearSetup sampling = setup(at::kBFloat16);
  sampling.trainable = false;
  const auto answer = [](const char* residency, const LinearSetup& s) {
    return BackendNvfp4(options({.residency = residency})).capability(s);
  };
  for (const char* word : {"auto", "planes", "dense"})
    EXPECT_EQ(answer(word, sampling).support, Support::emulated) << word;
  EXPECT_NE(answer("auto", sampling).reason.find("become NVFP4 planes"), std::string::npos);
  EXPECT_NE(answer("dense", sampling).reason.find("held as they are"), std::string::npos);
  const Capability trains = answer("planes", setup(at::kBFloat16));
  EXPECT_EQ(trains.support, Support::unsupported);
  EXPECT_NE(trains.reason.find("residency: auto"), std::string::npos);
  EXPECT_EQ(answer("dense", setup(at::kBFloat16, Path::bridge)).support, Support::unsupported);
  EXPECT_EQ(answer("planes", setup(at::kBFloat16, Path::bridge)).support, Support::emulated);
  EXPECT_THROW(answer("nowhere", sampling), StatusError);
}

TEST(BackendNvfp4, SaysWhatItComputes) {
  const LinearSetup s = setup(at::kBFloat16);
  EXPECT_EQ(BackendNvfp4(options()).capability(s).compute, "emulated-w4a16");
  EXPECT_EQ(BackendNvfp4(options({.compute = "emulated"})).capability(s).compute, "emulated-w4a16");
  EXPECT_EQ(BackendNvfp4(options({.compute = "reference"})).capability(s).compute, "reference");
  BackendNvfp4 native(options({.compute = "native"}));
  EXPECT_EQ(native.capability(s).support, Support::unsupported);
  EXPECT_NE(native.capability(s).reason.find("sm_100"), std::string::npos);
  EXPECT_EQ(native.configure(s).code, StatusCode::unsupported);
  EXPECT_EQ(BackendNvfp4(options()).capability(setup(at::kDouble)).support, Support::unsupported);
  EXPECT_THROW(BackendNvfp4(options({.profile = "nobody"})), StatusError);
}

TEST(BackendNvfp4, RefusesWhatItCannotHold) {
  const auto b = backend(setup(at::kFloat));
  WeightId id = -1;
  std::vector<at::Tensor> y;
  Parameter vector = parameter("norm", at::ones({16}));
  EXPECT_EQ(b->prepare(vector, id).code, StatusCode::unsupported);
  Parameter residual = parameter("w", at::ones({4, 16}));
  residual.format = Format::nvfp4_hi_lo;  // without planes
  EXPECT_EQ(b->prepare(residual, id).code, StatusCode::unsupported);
  residual.format = Format::opaque;
  EXPECT_EQ(b->prepare(residual, id).code, StatusCode::unsupported);
  Parameter strided = parameter("w", at::ones({16, 4}).t());
  EXPECT_EQ(b->prepare(strided, id).code, StatusCode::unsupported);
  EXPECT_EQ(b->forward({&id, 1}, at::ones({1, 16}), Pass::eval, y).code, StatusCode::internal);
  Parameter good = parameter("w", at::ones({4, 16}));
  ok(b->prepare(good, id));
  EXPECT_EQ(b->forward({&id, 1}, at::ones({1, 15}), Pass::eval, y).code, StatusCode::internal);
  EXPECT_EQ(b->forward({&id, 1}, at::ones({1, 16}).to(at::kHalf), Pass::eval, y).code, StatusCode::internal);
  EXPECT_EQ(b->configure(setup(at::kFloat)).code, StatusCode::internal);
}

TEST(BackendNvfp4, UsesTheThreadsThereAre) {
  if (at::get_num_threads() < 2) GTEST_SKIP() << "one thread";
  EXPECT_GE(backend_nvfp4::threads_seen(), 2);
}

}  // namespace
}  // namespace tetrad
