#include "checkpoint/assemble.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "sdk/base/printable.h"

namespace tetrad::checkpoint {
namespace {

using io::TensorView;

// A float, by its bytes: they need not be aligned.
float read_f32(const TensorView& view) {
  float value = 0;
  std::memcpy(&value, view.bytes.data(), sizeof value);
  return value;
}

// What was found of one weight.
struct Group {
  const TensorView* dense = nullptr;
  const TensorView* codes = nullptr;
  const TensorView* scales = nullptr;
  const TensorView* lo_codes = nullptr;
  const TensorView* global = nullptr;
  const TensorView* input = nullptr;
  bool global_divides = false, input_divides = false;
  std::vector<const TensorView*> all;
};

std::string_view module_of(std::string_view weight) {
  constexpr std::string_view suffix = ".weight";
  if (weight.ends_with(suffix)) weight.remove_suffix(suffix.size());
  return weight;
}

class Assembler {
 public:
  Assembler(Quantization& quantization, const std::string& where) : q_(quantization), where_(where) {}

  void add(const TensorView& view) {
    const std::string name = printable(view.name);
    const PartName* part = find_part(q_.layout, view.name);
    if (part == nullptr) {
      if (view.name.ends_with(".pre_quant_scale")) {
        complain("'{}' scales activations channel by channel (AWQ), which is not supported", name);
        return;
      }
      if (const PartName* foreign = find_foreign_part(q_.layout, view.name)) {
        complain("'{}' is of the {} layout, but the checkpoint is {}", name, layout_name(foreign->layout),
                 layout_text());
        return;
      }
      const bool codes = view.dtype == io::DType::u8 && view.name.ends_with(".weight");
      if (codes && q_.layout != Layout::modelopt) {
        complain("'{}' holds packed codes as ModelOpt stores them, but the checkpoint is {}", name,
                 layout_text());
        return;
      }
      Group& group = groups_[view.name];
      set(codes ? group.codes : group.dense, view, group);
      return;
    }
    if (part->part == Part::cache_scale) {
      ++cache_scales_;
      return;
    }
    const std::string_view stem =
        std::string_view(view.name).substr(0, view.name.size() - part->suffix.size());
    Group& group = groups_[std::string(stem).append(part->weight)];
    switch (part->part) {
      case Part::codes:
        set(group.codes, view, group);
        break;
      case Part::scales:
        set(group.scales, view, group);
        break;
      case Part::lo_codes:
        set(group.lo_codes, view, group);
        break;
      case Part::global_factor:
      case Part::global_divisor:
        set(group.global, view, group);
        group.global_divides = part->part == Part::global_divisor;
        break;
      case Part::input_factor:
      case Part::input_divisor:
        set(group.input, view, group);
        group.input_divides = part->part == Part::input_divisor;
        break;
      case Part::cache_scale:
        break;
    }
  }

  Assembled finish(std::span<const TensorView* const> order) {
    Assembled result;
    for (auto& [name, group] : groups_) {
      if (group.codes == nullptr && group.dense == nullptr) {
        std::string parts;
        for (const TensorView* part : group.all) parts += (parts.empty() ? "'" : ", '") + part->name + "'";
        complain("{} without codes: '{}' is missing", parts, part_name(q_.layout, Part::codes, name));
      } else if (group.dense != nullptr && group.all.size() > 1) {
        const auto other =
            std::find_if(group.all.begin(), group.all.end(),
                         [dense = group.dense](const TensorView* view) { return view != dense; });
        complain("'{}' is stored dense ({}) and also has '{}'; one of them is extra", printable(name),
                 io::describe(group.dense->dtype, group.dense->shape), printable((*other)->name));
      }
    }
    std::map<const TensorView*, const std::string*> owners;
    for (const auto& [name, group] : groups_) {
      if (group.codes != nullptr) {
        owners.emplace(group.codes, &name);
      } else if (group.dense != nullptr) {
        owners.emplace(group.dense, &name);
      }
    }
    for (const TensorView* view : order) {
      const auto owner = owners.find(view);
      if (owner == owners.end()) continue;
      const std::string& name = *owner->second;
      result.tensors.push_back(make(name, groups_.at(name)));
      result.parts.emplace(name, groups_.at(name).all);
    }
    if (!complaints_.empty()) refuse();
    if (cache_scales_ > 0 && q_.notes.empty())
      q_.notes.push_back(fmt::format("{} scales of a quantised KV cache are not used", cache_scales_));
    return result;
  }

 private:
  template <class... A>
  void complain(fmt::format_string<A...> text, A&&... values) {
    complaints_.push_back(fmt::format(text, std::forward<A>(values)...));
  }

  [[noreturn]] void refuse() const {
    constexpr std::size_t shown = 20;
    std::string text;
    for (std::size_t i = 0; i < std::min(shown, complaints_.size()); ++i) text += "\n  " + complaints_[i];
    if (complaints_.size() > shown) text += fmt::format("\n  and {} more", complaints_.size() - shown);
    throw Error(
        fmt::format("[checkpoint] {}: not a sound {} checkpoint:{}", where_, layout_name(q_.layout), text));
  }

  std::string layout_text() const {
    if (q_.layout != Layout::dense) return layout_name(q_.layout);
    return "not quantised, going by its config.json (no quantization_config) and the lack of a "
           "hf_quant_config.json";
  }

  void set(const TensorView*& slot, const TensorView& view, Group& group) {
    group.all.push_back(&view);
    if (slot != nullptr) {
      complain("'{}' and '{}' say the same thing twice", printable(slot->name), printable(view.name));
    }
    slot = &view;
  }

  std::optional<GlobalScale> read_scale(const TensorView& view, bool divides) {
    const std::string name = printable(view.name);
    const bool single = view.shape.empty() || (view.shape.size() == 1 && view.shape[0] == 1);
    if (view.dtype != io::DType::f32 || !single) {
      complain("'{}' is {}, not one F32 number", name, io::describe(view.dtype, view.shape));
      return std::nullopt;
    }
    const GlobalScale scale{read_f32(view), divides};
    const float factor = scale.factor();
    if (!std::isfinite(scale.value) || scale.value <= 0 || !std::isfinite(factor) || factor <= 0) {
      complain("'{}' is {}; a scale is a positive, finite number", name, scale.value);
      return std::nullopt;
    }
    return scale;
  }

  // Whether `view` is dtype [rows, columns].
  bool check_part(const TensorView& view, io::DType dtype, std::int64_t rows, std::int64_t columns) {
    const std::vector<std::int64_t> shape{rows, columns};
    if (view.dtype == dtype && view.shape == shape) return true;
    complain("'{}' is {}, not {}", printable(view.name), io::describe(view.dtype, view.shape),
             io::describe(dtype, shape));
    return false;
  }

  void check_scales(const TensorView& scales, std::int64_t rows, std::int64_t cols) {
    const bool bytes = q_.layout == Layout::dat && scales.dtype == io::DType::u8;
    if (scales.dtype == io::DType::f8_e4m3 || bytes) {
      const bool matrix = scales.shape.size() == 2 && scales.shape[0] == rows && scales.shape[1] > 0;
      if (matrix && scales.shape[1] * 16 != cols && cols % scales.shape[1] == 0) {
        complain("'{}' is {}: groups of {} in rows of {}; NVFP4 has groups of 16", printable(scales.name),
                 io::describe(scales.shape), cols / scales.shape[1], cols);
        return;
      }
    }
    check_part(scales, bytes ? io::DType::u8 : io::DType::f8_e4m3, rows, cols / 16);
  }

  Tensor make(const std::string& name, const Group& group) {
    Tensor tensor;
    tensor.name = name;
    for (const TensorView* part : group.all) tensor.stored_bytes += part->bytes.size();
    if (group.codes == nullptr) {
      tensor.shape = group.dense->shape;
      tensor.dtype = group.dense->dtype;
      tensor.bytes = group.dense->bytes;
      check_ignored(tensor);
      return tensor;
    }
    const std::string shown = printable(name);
    const TensorView& codes = *group.codes;
    if (codes.dtype != io::DType::u8 || codes.shape.size() != 2 || codes.shape[0] < 1 || codes.shape[1] < 1) {
      complain("'{}' is {}, not U8 [rows, columns / 2]", printable(codes.name),
               io::describe(codes.dtype, codes.shape));
      return tensor;
    }
    const std::int64_t rows = codes.shape[0], cols = codes.shape[1] * 2;
    tensor.shape = {rows, cols};
    Planes planes;
    planes.codes = codes.bytes;
    if (cols % 16 != 0) {
      complain("'{}' has {} columns, no multiple of 16", shown, cols);
    } else if (group.scales == nullptr) {
      complain("'{}' has no block scales: '{}' is missing", shown, part_name(q_.layout, Part::scales, name));
    } else {
      check_scales(*group.scales, rows, cols);
      planes.scales = group.scales->bytes;
    }
    if (group.lo_codes != nullptr && check_part(*group.lo_codes, io::DType::u8, rows, cols / 2))
      planes.lo_codes = group.lo_codes->bytes;
    if (group.global != nullptr) {
      planes.global = read_scale(*group.global, group.global_divides).value_or(GlobalScale{});
    } else if (q_.layout != Layout::dat) {
      const Part part = q_.layout == Layout::compressed_tensors ? Part::global_divisor : Part::global_factor;
      complain("'{}' has no global scale: '{}' is missing", shown, part_name(q_.layout, part, name));
    }
    if (group.input != nullptr) planes.input = read_scale(*group.input, group.input_divides);
    check_input(tensor.name, group);
    if (q_.layout == Layout::compressed_tensors && q_.ignores(module_of(name)))
      complain("'{}' is stored quantised, but 'ignore' in {} names it", shown, q_.stated_in.string());
    tensor.planes = planes;
    return tensor;
  }

  void check_input(const std::string& name, const Group& group) {
    if (q_.layout != Layout::compressed_tensors && q_.layout != Layout::modelopt) return;
    if (q_.activations && group.input == nullptr) {
      const Part part = q_.layout == Layout::compressed_tensors ? Part::input_divisor : Part::input_factor;
      complain("'{}': {} says that activations are quantised, but '{}' is missing", printable(name),
               q_.stated_in.filename().string(), part_name(q_.layout, part, name));
    } else if (!q_.activations && group.input != nullptr) {
      complain("'{}': {} says that activations are not quantised, but '{}' is there", printable(name),
               q_.stated_in.filename().string(), printable(group.input->name));
    }
  }

  // A linear layer that the config calls quantised must not be stored dense: its reader would look for
  // planes, and so does everybody else's.
  void check_ignored(const Tensor& tensor) {
    if (!q_.lists_modules || tensor.shape.size() != 2 || !tensor.name.ends_with(".weight")) return;
    if (tensor.name.find("embed_tokens") != std::string::npos) return;
    if (q_.ignores(module_of(tensor.name))) return;
    complain("'{}' is stored {} without block scales, but {} calls it quantised (not in '{}')",
             printable(tensor.name), io::describe(tensor.dtype, tensor.shape),
             q_.stated_in.filename().string(),
             q_.stated_in.filename() == "hf_quant_config.json" ? "exclude_modules" : "ignore");
  }

  Quantization& q_;
  const std::string& where_;
  std::map<std::string, Group, std::less<>> groups_;
  std::vector<std::string> complaints_;
  int cache_scales_ = 0;
};

}  // namespace

Assembled assemble(std::span<const TensorView* const> stored, Quantization& quantization,
                   const std::string& where) {
  Assembler assembler(quantization, where);
  for (const TensorView* view : stored) assembler.add(*view);
  return assembler.finish(stored);
}

}  // namespace tetrad::checkpoint
