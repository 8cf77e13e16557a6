// The tensors that a model of a given config consists of, under Hugging Face's names, and the comparison with
// what a model directory holds. Contract: check_names() accepts exactly the expected tensors (shape and a
// floating dtype included) plus a few known harmless extras, and otherwise reports every difference at once.
// A tied head that is stored a second time is accepted only if its bytes equal the embedding's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/weight_files.h"
#include "model/config.h"

namespace tetrad::model {

enum class TensorRole : std::uint8_t { embedding, linear, norm };

const char* tensor_role_name(TensorRole role) noexcept;

struct ExpectedTensor {
  std::string name;                 // "model.layers.3.self_attn.q_proj.weight"
  std::vector<std::int64_t> shape;  // linears: [out, in]
  TensorRole role = TensorRole::linear;
  std::int64_t layer = -1;  // -1: not in a layer
  bool head = false;        // lm_head
  // Gradient contributions in one pass: 2 for the embedding of a model whose head is tied to it.
  int uses = 1;
};

inline constexpr const char* embedding_name = "model.embed_tokens.weight";
inline constexpr const char* final_norm_name = "model.norm.weight";
inline constexpr const char* head_name = "lm_head.weight";

// All tensors in the order of the computation. A tied model has no head of its own.
std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config);

// Elements of all expected tensors.
std::int64_t parameter_count(const ModelConfig& config);

struct NameCheck {
  std::vector<std::string>
      ignored;  // stored tensors that are not needed: rotary tables, a second copy of a tied head
};

// A tensor as a checkpoint of any layout holds it.
struct StoredTensor {
  std::string_view name;
  io::DType dtype = io::DType::bf16;  // of dense values
  std::span<const std::int64_t> shape;
  std::span<const std::byte> bytes;
  bool planes = false;  // NVFP4: shape is the weight's, dtype and bytes mean nothing
};

// Throws Error "[model] ..." listing every missing, unexpected, misshapen and mistyped tensor. `where` is
// named in it.
NameCheck check_names(const std::filesystem::path& where, std::span<const StoredTensor> weights,
                      const ModelConfig& config);
NameCheck check_names(const io::WeightFiles& weights, const ModelConfig& config);

}  // namespace tetrad::model
