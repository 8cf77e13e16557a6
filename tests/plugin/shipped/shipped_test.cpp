// The shipped plugins through the whole line, as a run meets them: found by id among the built files, judged
// usable, loaded, given options, and used through their interface alone. What they compute is tested beside
// this folder.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <tetrad/torch/kv_policy.h>
#include <tetrad/torch/linear.h>
#include <tetrad/torch/optimizer.h>

#include <string>

#include "plugin/loader.h"
#include "plugin/registry.h"

namespace tetrad {
namespace {

const plugin::Registry& registry() {
  static const plugin::Registry found(
      {{plugin::PlaceClass::install, TETRAD_BINARY_DIR "/lib/tetrad/plugins", "the build tree"}});
  return found;
}

plugin::Plugin& loaded(const std::string& kind, const std::string& id) {
  return plugin::load(registry().find(kind, id).file);
}

Options nvfp4_options(const std::string& compute = "auto", const std::string& head = "packed") {
  return Options({{"eval_cache", true},
                  {"residency", std::string("auto")},
                  {"compute", compute},
                  {"activations", std::string("dense")},
                  {"profile", std::string("te")},
                  {"global_scale", std::string("power_of_two")},
                  {"forward", std::string("hi+lo")},
                  {"head", head},
                  {"embedding", std::string("dense")}});
}

TEST(ShippedPlugins, AreUsableAndSayWhatTheyAre) {
  for (const auto& [kind, id] : {std::pair<std::string, std::string>{"kv_cache", "kvc-persistent"},
                                 {"kv_cache", "kvc-none"},
                                 {"linear", "backend-bf16"},
                                 {"linear", "backend-nvfp4"},
                                 {"optimizer", "optim-adamw"},
                                 {"optimizer", "optim-adamw-int8"},
                                 {"optimizer", "optim-adamw-nvfp4"}}) {
    const plugin::Candidate candidate = registry().find(kind, id);
    EXPECT_TRUE(candidate.usable()) << candidate.describe_refusal();
    EXPECT_TRUE(candidate.warnings.empty()) << id << ": " << candidate.warnings.front();
    ASSERT_TRUE(candidate.metadata.has_value());
    EXPECT_EQ(loaded(kind, id).id(), id);
  }
}

// The policy, its fork (a second object that the plugin owns), and one step in each.
TEST(ShippedPlugins, KvPoliciesWorkThroughTheLine) {
  KvShape shape;
  shape.layers = 1;
  shape.kv_heads = 2;
  shape.head_dim = 4;
  shape.dtype = at::kFloat;
  shape.max_tokens = 32;
  auto& persistent = loaded("kv_cache", "kvc-persistent");
  auto kv = plugin::create<KvPolicy>(persistent, "kv_cache",
                                     Options({{"reserve_tokens", std::int64_t{0}}, {"growth", 1.5}}));
  auto none = plugin::create<KvPolicy>(loaded("kv_cache", "kvc-none"), "kv_cache", Options());
  const at::Tensor k = at::randn({3, 2, 4}), v = at::randn({3, 2, 4});
  for (KvPolicy* each : {kv.get(), none.get()}) {
    KvReserve answer = KvReserve::full;
    at::Tensor seen_k, seen_v;
    ASSERT_TRUE(each->configure(shape).ok());
    ASSERT_TRUE(each->prepare(3, answer).ok());
    ASSERT_TRUE(each->write(0, k, v).ok());
    ASSERT_TRUE(each->view(0, seen_k, seen_v).ok());
    EXPECT_TRUE(at::equal(seen_k, k.transpose(0, 1)));
    EXPECT_TRUE(at::equal(seen_v, v.transpose(0, 1)));
    ASSERT_TRUE(each->commit(3).ok());
  }
  EXPECT_EQ(kv->lengths().resident, 3);
  EXPECT_EQ(none->lengths().resident, 0);

  KvPolicy* made = nullptr;
  ASSERT_TRUE(kv->fork(made).ok());
  auto copy = plugin::adopt<KvPolicy>(persistent, "kv_cache", made);
  kv.reset();
  EXPECT_EQ(copy->lengths().resident, 3);
}

TEST(ShippedPlugins, BackendsWorkThroughTheLine) {
  LinearSetup setup;
  setup.dtype = at::kFloat;
  auto dense = plugin::create<LinearBackend>(loaded("linear", "backend-bf16"), "linear", Options());
  auto nvfp4 = plugin::create<LinearBackend>(loaded("linear", "backend-nvfp4"), "linear", nvfp4_options());
  EXPECT_EQ(dense->capability(setup).compute, "dense");
  EXPECT_EQ(nvfp4->capability(setup).compute, "emulated-w4a16");
  for (LinearBackend* each : {dense.get(), nvfp4.get()}) {
    ASSERT_TRUE(each->configure(setup).ok());
    Parameter p;
    p.name = "w";
    p.shape = {5, 16};
    p.format = Format::fp32;
    p.dense = at::randn({5, 16});
    WeightId id = -1;
    ASSERT_TRUE(each->prepare(p, id).ok());
    at::Tensor w;
    std::vector<at::Tensor> y;
    const at::Tensor x = at::randn({3, 16});
    ASSERT_TRUE(each->dequantized(id, w).ok());
    ASSERT_TRUE(each->forward({&id, 1}, x, Pass::eval, y).ok());
    EXPECT_TRUE(at::allclose(y.at(0), at::mm(x, w.t()), 1e-5, 1e-5));
    EXPECT_EQ(at::equal(w, p.dense), each == dense.get());
  }
}

TEST(ShippedPlugins, OptimizersWorkThroughTheLine) {
  const Options adamw({{"master", std::string("none")},
                       {"gradient", std::string("bf16")},
                       {"beta1", 0.9},
                       {"beta2", 0.95},
                       {"eps", 1e-8},
                       {"offload", std::string("none")}});
  const Options planes({{"planes", std::int64_t{3}},
                        {"literal", false},
                        {"beta1", 0.9},
                        {"beta2", 0.95},
                        {"eps", 1e-8},
                        {"offload", std::string("none")}});
  auto dense = plugin::create<Optimizer>(loaded("optimizer", "optim-adamw"), "optimizer", adamw);
  auto nvfp4 = plugin::create<Optimizer>(loaded("optimizer", "optim-adamw-nvfp4"), "optimizer", planes);
  for (Optimizer* each : {dense.get(), nvfp4.get()}) {
    ASSERT_TRUE(each->configure({}).ok());
    Parameter p;
    p.name = "w";
    p.shape = {5, 16};
    p.dense = at::randn({5, 16}).to(at::kBFloat16);
    StateId id = -1;
    ASSERT_TRUE(each->prepare(p, 0.1, id).ok());
    UpdateItem item;
    item.state = id;
    item.gradient.dense = at::randn({5, 16});
    StepFactors factors;
    factors.lr = 0.01;
    factors.measure = true;
    ASSERT_TRUE(each->update({&item, 1}, factors).ok());
    UpdateProof proof;
    StorageTable table;
    ASSERT_TRUE(each->proof(id, proof).ok());
    ASSERT_TRUE(each->describe(id, table).ok());
    EXPECT_GT(proof.weights_changed, 0.5);
    EXPECT_EQ(table.w.format, each == dense.get() ? "bf16" : "nvfp4 hi+lo+lo2");
  }
}

// An exception of libtorch inside a plugin stays there; out comes its text, without a backtrace.
TEST(ShippedPlugins, LibtorchsErrorsStopAtTheLine) {
  LinearSetup setup;
  setup.dtype = at::kFloat;
  auto dense = plugin::create<LinearBackend>(loaded("linear", "backend-bf16"), "linear", Options());
  ASSERT_TRUE(dense->configure(setup).ok());
  Parameter p;
  p.name = "w";
  p.shape = {5, 16};
  p.format = Format::fp32;
  p.dense = at::randn({5, 16});
  WeightId id = -1;
  ASSERT_TRUE(dense->prepare(p, id).ok());
  at::Tensor rows;
  const Status status = dense->gather(id, at::full({1}, 5, at::kLong), rows);
  EXPECT_EQ(status.code, StatusCode::internal);
  EXPECT_NE(status.message.find("out of range"), std::string::npos) << status.message;
  EXPECT_EQ(status.message.find("Exception raised from"), std::string::npos) << status.message;
  EXPECT_FALSE(rows.defined());
}

TEST(ShippedPlugins, BadOptionsAreUsageErrorsThatNameThePlugin) {
  const auto message = [](const char* kind, const char* id, const Options& options) -> std::string {
    try {
      if (std::string(kind) == "linear")
        plugin::create<LinearBackend>(loaded(kind, id), kind, options);
      else
        plugin::create<KvPolicy>(loaded(kind, id), kind, options);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ExitCode::usage) << e.what();
      return e.what();
    }
    return "nothing was wrong";
  };
  const std::string compute = message("linear", "backend-nvfp4", nvfp4_options("fast"));
  EXPECT_NE(compute.find("backend-nvfp4"), std::string::npos) << compute;
  EXPECT_NE(compute.find("compute: 'fast' is not one of auto, native, emulated, reference"),
            std::string::npos)
      << compute;
  const std::string head = message("linear", "backend-nvfp4", nvfp4_options("auto", "none"));
  EXPECT_NE(head.find("head: 'none' is not one of packed, dense"), std::string::npos) << head;
  const std::string growth =
      message("kv_cache", "kvc-persistent", Options({{"reserve_tokens", std::int64_t{0}}, {"growth", 0.5}}));
  EXPECT_NE(growth.find("kvc-persistent"), std::string::npos) << growth;
  EXPECT_NE(growth.find("growth"), std::string::npos) << growth;
}

}  // namespace
}  // namespace tetrad
