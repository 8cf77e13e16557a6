// How the tensors of a model lie in its files. Every layout holds the same two kinds of tensors: dense ones,
// and NVFP4 planes (E2M1 codes, an E4M3 scale for each 16 columns, one fp32 scale); they differ in the names
// of the parts and in whether the fp32 scale multiplies or divides. The names stand in one table here, used
// for reading and writing. docs/checkpoints.md shows it to users.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tetrad::checkpoint {

enum class Layout : std::uint8_t {
  dense,               // Hugging Face directory without quantised weights
  compressed_tensors,  // llm-compressor, vLLM: nvfp4-pack-quantized
  modelopt,            // NVIDIA ModelOpt: NVFP4 and W4A16_NVFP4
  tetrad,              // Tetrad's own planes, version 1
  dat,                 // the predecessor's single file; read only
};

// "hf-bf16", "compressed-tensors", "modelopt", "tetrad", "dat": the words of the command line.
const char* layout_name(Layout layout) noexcept;
std::optional<Layout> layout_from_name(std::string_view name) noexcept;

// What a stored tensor is to the weight that it belongs to.
enum class Part : std::uint8_t {
  codes,          // U8 [N, K/2], element 2i in the low nibble
  scales,         // F8_E4M3 [N, K/16]
  lo_codes,       // U8 [N, K/2], the residual plane; its block scales are a quarter of `scales`
  global_factor,  // F32, multiplies
  global_divisor,
  input_factor,  // the same for the activations of a W4A4 checkpoint; kept, not used
  input_divisor,
  cache_scale,  // of a quantised KV cache; not used
};

struct PartName {
  Layout layout;
  Part part;
  std::string_view suffix;  // of the stored tensor's name, after the stem
  std::string_view weight;  // what the stem is completed with to name the weight
};

// All of them; one suffix may serve several layouts.
std::span<const PartName> part_names() noexcept;

// The row of `stored`, a tensor's name in a file of `layout`; nullptr when it is no part of a plane there.
const PartName* find_part(Layout layout, std::string_view stored) noexcept;
// The same among all other layouts.
const PartName* find_foreign_part(Layout layout, std::string_view stored) noexcept;

// The name under which `layout` stores a part of `weight` ("model...q_proj.weight"); empty when it has none.
std::string part_name(Layout layout, Part part, std::string_view weight);

}  // namespace tetrad::checkpoint
