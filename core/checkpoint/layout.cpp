#include "checkpoint/layout.h"

#include <array>

namespace tetrad::checkpoint {
namespace {

constexpr std::string_view weight = ".weight";

constexpr std::array<PartName, 22> table{{
    {Layout::compressed_tensors, Part::codes, ".weight_packed", weight},
    {Layout::compressed_tensors, Part::scales, ".weight_scale", weight},
    {Layout::compressed_tensors, Part::global_divisor, ".weight_global_scale", weight},
    {Layout::compressed_tensors, Part::input_divisor, ".input_global_scale", weight},
    {Layout::compressed_tensors, Part::cache_scale, ".k_scale", weight},
    {Layout::compressed_tensors, Part::cache_scale, ".v_scale", weight},
    // ModelOpt's codes are called .weight like a dense tensor and told apart by their type.
    {Layout::modelopt, Part::scales, ".weight_scale", weight},
    {Layout::modelopt, Part::global_factor, ".weight_scale_2", weight},
    {Layout::modelopt, Part::input_factor, ".input_scale", weight},
    {Layout::modelopt, Part::cache_scale, ".k_scale", weight},
    {Layout::modelopt, Part::cache_scale, ".v_scale", weight},
    {Layout::modelopt, Part::cache_scale, ".k_proj.output_scale", weight},
    {Layout::modelopt, Part::cache_scale, ".v_proj.output_scale", weight},
    {Layout::tetrad, Part::codes, ".codes", ""},
    {Layout::tetrad, Part::scales, ".scales", ""},
    {Layout::tetrad, Part::lo_codes, ".lo_codes", ""},
    {Layout::tetrad, Part::global_factor, ".decode_scale", ""},
    {Layout::tetrad, Part::global_divisor, ".encode_scale", ""},
    {Layout::tetrad, Part::input_factor, ".input_decode_scale", ""},
    {Layout::tetrad, Part::input_divisor, ".input_encode_scale", ""},
    {Layout::dat, Part::codes, ".weight.qdata", weight},
    {Layout::dat, Part::scales, ".weight.scale", weight},
}};

constexpr std::array<std::pair<Layout, const char*>, 5> names{
    {{Layout::dense, "hf-bf16"},
     {Layout::compressed_tensors, "compressed-tensors"},
     {Layout::modelopt, "modelopt"},
     {Layout::tetrad, "tetrad"},
     {Layout::dat, "dat"}}};

}  // namespace

const char* layout_name(Layout layout) noexcept {
  for (const auto& [value, name] : names) {
    if (value == layout) return name;
  }
  return "unknown";
}

std::optional<Layout> layout_from_name(std::string_view name) noexcept {
  for (const auto& [value, text] : names) {
    if (name == text) return value;
  }
  return std::nullopt;
}

std::span<const PartName> part_names() noexcept {
  return table;
}

const PartName* find_part(Layout layout, std::string_view stored) noexcept {
  const PartName* best = nullptr;  // the longest suffix: ".lo_codes" does not end a name in ".codes", but
                                   // ".input_decode_scale" and ".decode_scale" could be confused
  for (const PartName& row : table) {
    if (row.layout != layout || row.suffix.empty() || !stored.ends_with(row.suffix)) continue;
    if (best == nullptr || row.suffix.size() > best->suffix.size()) best = &row;
  }
  return best;
}

const PartName* find_foreign_part(Layout layout, std::string_view stored) noexcept {
  if (find_part(layout, stored) != nullptr) return nullptr;
  for (const PartName& row : table) {
    if (row.layout != layout && !row.suffix.empty() && stored.ends_with(row.suffix)) return &row;
  }
  return nullptr;
}

std::string part_name(Layout layout, Part part, std::string_view name) {
  if (layout == Layout::modelopt && part == Part::codes) return std::string(name);
  for (const PartName& row : table) {
    if (row.layout != layout || row.part != part || !name.ends_with(row.weight)) continue;
    return std::string(name.substr(0, name.size() - row.weight.size())).append(row.suffix);
  }
  return {};
}

}  // namespace tetrad::checkpoint
