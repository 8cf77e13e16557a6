// The tiny model loaded into a Transformer over the fake plugins, and a Context on top, in fp32 on the CPU.
#pragma once

#include <ATen/Parallel.h>

#include <memory>
#include <utility>

#include "checkpoint/checkpoint.h"
#include "generate/context.h"
#include "model/config.h"
#include "model/loader.h"
#include "model/transformer.h"
#include "support/fake_plugins.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace tetrad::test {

class TinyRig {
 public:
  explicit TinyRig(const nlohmann::json& config = tiny_config(),
                   std::uint32_t kv_bits = kv_retains | kv_lossless | kv_truncate)
      : TinyRig(config, tiny_weights(config), kv_bits) {}

  TinyRig(const nlohmann::json& config, const std::map<std::string, Weights>& weights,
          std::uint32_t kv_bits = kv_retains | kv_lossless | kv_truncate)
      : kv(kv_bits), model_config(model::ModelConfig::parse(config, "tiny config")) {
    write_weights(folder / "model.safetensors", weights);
    at::set_num_threads(1);  // nothing here is worth a second one
    setup.dtype = at::kFloat;
    transformer = std::make_unique<model::Transformer>(
        model_config,
        model::load_weights(checkpoint::Checkpoint::open(folder.path()), model_config, setup, linear,
                            "fake-linear", {}),
        linear, "fake-linear", setup);
    (void)kv.configure(shape());
    kv.resets = 0;
  }

  KvShape shape() const {
    return {model_config.num_hidden_layers,
            model_config.num_key_value_heads,
            model_config.head_dim,
            at::kFloat,
            at::kCPU,
            model_config.max_position_embeddings};
  }

  generate::Context context(std::int64_t chunk = 2048, std::int64_t max_tokens = 256,
                            bool check_logits = true) {
    return {*transformer, kv, {max_tokens, chunk, check_logits}};
  }

  // The parameter itself, for tests that change it as an optimizer would.
  Parameter& parameter(const std::string& name) {
    for (const Parameter& p : transformer->parameters()) {
      if (p.name == name) return const_cast<Parameter&>(p);
    }
    throw std::runtime_error("no parameter " + name);
  }

  TempDir folder;
  FakeLinear linear;
  FakeKv kv;
  model::ModelConfig model_config;
  LinearSetup setup;
  std::unique_ptr<model::Transformer> transformer;
};

}  // namespace tetrad::test
