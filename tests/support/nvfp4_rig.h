// A tiny random model on the real NVFP4 backend and KV policy, on any device: what the engine loads, without
// its process around it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend_nvfp4.h"
#include "checkpoint/checkpoint.h"
#include "generate/context.h"
#include "kvc_persistent.h"
#include "model/config.h"
#include "model/loader.h"
#include "model/transformer.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace tetrad::test {

struct RigChoice {
  Path path = Path::training;
  at::ScalarType dtype = at::kBFloat16;
  bool eval_cache = true;
  std::string residency = "auto";
  bool trainable = false;  // as in every task but training
  std::int64_t positions = 700, layers = 3, hidden = 128, intermediate = 208, head_dim = 64;
  std::int64_t heads = 4, kv_heads = 2;
};

inline nlohmann::json rig_config(const RigChoice& choice) {
  nlohmann::json c = tiny_config();
  c["hidden_size"] = choice.hidden;
  c["intermediate_size"] = choice.intermediate;
  c["num_hidden_layers"] = choice.layers;
  c["num_attention_heads"] = choice.heads;
  c["num_key_value_heads"] = choice.kv_heads;
  c["head_dim"] = choice.head_dim;
  c["max_position_embeddings"] = choice.positions;
  return c;
}

struct Nvfp4Rig {
  Nvfp4Rig(at::Device device, const RigChoice& choice)
      : Nvfp4Rig(device, choice, tiny_weights(rig_config(choice))) {}

  Nvfp4Rig(at::Device device, const RigChoice& choice, const std::map<std::string, Weights>& weights)
      : model_config(model::ModelConfig::parse(rig_config(choice), "tiny config")),
        backend(Options({{"eval_cache", choice.eval_cache},
                         {"residency", choice.residency},
                         {"compute", std::string("auto")},
                         {"activations", std::string("dense")},
                         {"profile", std::string("te")},
                         {"global_scale", std::string("power_of_two")},
                         {"forward", std::string("hi+lo")},
                         {"head", std::string("packed")},
                         {"embedding", std::string("dense")}})),
        kv(Options({{"reserve_tokens", std::int64_t{1}}, {"growth", 1.0}})) {
    setup.device = device;
    setup.dtype = choice.dtype;
    setup.path = choice.path;
    setup.trainable = choice.trainable;
    write_weights(folder / "model.safetensors", weights);
    EXPECT_TRUE(backend.configure(setup).ok());
    transformer = std::make_unique<model::Transformer>(
        model_config,
        model::load_weights(checkpoint::Checkpoint::open(folder.path()), model_config, setup, backend,
                            "backend-nvfp4", {}),
        backend, "backend-nvfp4", setup);
    EXPECT_TRUE(kv.configure({model_config.num_hidden_layers, model_config.num_key_value_heads,
                              model_config.head_dim, choice.dtype, device, choice.positions})
                    .ok());
    context = std::make_unique<generate::Context>(*transformer, kv,
                                                  generate::ContextOptions{choice.positions, 512, true});
  }

  TempDir folder;
  model::ModelConfig model_config;
  LinearSetup setup;
  backend_nvfp4::BackendNvfp4 backend;
  kvc_persistent::KvcPersistent kv;
  std::unique_ptr<model::Transformer> transformer;
  std::unique_ptr<generate::Context> context;
};

// Ids of the tiny vocabulary, the same for the same count.
inline std::vector<std::int32_t> rig_ids(std::size_t count) {
  std::vector<std::int32_t> ids;
  for (std::uint32_t i = 0, seed = 5; i < count; ++i) {
    seed = seed * 1664525U + 1013904223U;
    ids.push_back(static_cast<std::int32_t>(seed >> 24U));
  }
  return ids;
}

}  // namespace tetrad::test
