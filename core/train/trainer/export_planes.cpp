#include "train/trainer/export_planes.h"

#include "checkpoint/new_directory.h"
#include "checkpoint/quantization.h"
#include "io/safetensors_writer.h"
#include "train/trainer/export_folder.h"

#include <ATen/ops/scalar_tensor.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <functional>
#include <span>
#include <system_error>
#include <utility>

namespace tetrad::train {
namespace fs = std::filesystem;
namespace {

using checkpoint::Layout;
using checkpoint::Part;

constexpr const char* kWeights = "model.safetensors";

// Whether the layout takes this parameter's planes.
bool packed(const Parameter& p, Layout layout) {
  if (!p.planes.codes.defined() || p.shape.size() != 2 || p.shape[1] % 16 != 0) return false;
  if (layout == Layout::tetrad) return true;
  return p.role == Role::linear && p.name != "lm_head.weight";  // whose readers expect a dense head
}

std::string module_of(const std::string& name) {
  return name.substr(0, name.size() - std::string(".weight").size());
}

// One stored tensor: what it is, and its bytes when they are asked for.
struct Entry {
  io::TensorSpec spec;
  std::function<at::Tensor()> values;
};

class Listing {
 public:
  Listing(model::Transformer& model, Layout layout, bool hi_alone)
      : model_(model), layout_(layout), hi_alone_(hi_alone || layout != Layout::tetrad) {
    for (const Parameter& p : model.parameters()) {
      if (packed(p, layout))
        add_planes(p);
      else
        add_dense(p);
    }
    if (model.config().tie_word_embeddings) dense_linears.emplace_back("lm_head");
  }

  std::vector<Entry> entries;
  std::vector<std::string> dense_linears;

 private:
  void add_dense(const Parameter& p) {
    entries.push_back({{p.name, export_dtype(model_.setup().dtype), p.shape},
                       [this, &p] { return exported_values(model_, p); }});
    if (p.role == Role::linear) dense_linears.push_back(module_of(p.name));
  }

  void add_planes(const Parameter& p) {
    const std::int64_t rows = p.shape[0], cols = p.shape[1];
    const auto add = [&](Part part, io::DType dtype, std::vector<std::int64_t> shape, const at::Tensor& t) {
      entries.push_back({{checkpoint::part_name(layout_, part, p.name), dtype, std::move(shape)},
                         [t] { return t.cpu().contiguous(); }});
    };
    add(Part::codes, io::DType::u8, {rows, cols / 2}, p.planes.codes);
    add(Part::scales, io::DType::f8_e4m3, {rows, cols / 16}, p.planes.scales);
    const bool divides = layout_ == Layout::compressed_tensors;
    const float scale = divides ? 1.0F / p.planes.decode_scale : p.planes.decode_scale;
    add(divides ? Part::global_divisor : Part::global_factor, io::DType::f32,
        divides ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{}, at::scalar_tensor(scale));
    if (!hi_alone_ && p.planes.lo_codes.defined())
      add(Part::lo_codes, io::DType::u8, {rows, cols / 2}, p.planes.lo_codes);
  }

  model::Transformer& model_;
  Layout layout_;
  bool hi_alone_;
};

bool any(const model::Transformer& model, const std::function<bool(const Parameter&)>& test) {
  return std::any_of(model.parameters().begin(), model.parameters().end(), test);
}

}  // namespace

void require_planes(const model::Transformer& model, Layout layout, bool hi_alone) {
  if (!any(model, [&](const Parameter& p) { return packed(p, layout); }))
    throw Error(ExitCode::usage,
                fmt::format("[export] train.export is {}, and no matrix is trained in NVFP4 planes: use "
                            "optim-adamw-nvfp4, or train.export: dense",
                            checkpoint::layout_name(layout)));
  if (layout == Layout::tetrad && !hi_alone &&
      any(model, [](const Parameter& p) { return p.planes.lo2_codes.defined(); }))
    throw Error(ExitCode::usage,
                "[export] Tetrad's layout holds two planes, and this model is the sum of three (planes: 3): "
                "use train.export: dense, or train.finish");
}

std::string change_of_export(const model::Transformer& model, Layout layout, bool hi_alone) {
  if (layout == Layout::dense || layout == Layout::tetrad || hi_alone ||
      !any(model, [](const Parameter& p) { return p.planes.lo_codes.defined(); }))
    return {};
  return fmt::format(
      "the model is hi + lo, and {} holds one plane: what is written is the hi plane alone, "
      "another model; train.finish trains one that can be written as it is",
      checkpoint::layout_name(layout));
}

Exported export_planes(model::Transformer& model, Layout layout, bool hi_alone, const fs::path& source,
                       const fs::path& given) {
  const fs::path target = fs::absolute(given).lexically_normal();
  require_export_possible(target);
  require_planes(model, layout, hi_alone);
  try {
    checkpoint::NewDirectory staging(target, "export");
    const Listing listing(model, layout, hi_alone);
    std::vector<io::TensorSpec> specs;
    for (const Entry& entry : listing.entries) specs.push_back(entry.spec);
    io::SafetensorsWriter writer(staging.path() / kWeights, std::move(specs), {{"format", "pt"}});
    Exported exported;
    exported.bytes = writer.file_bytes();
    for (const Entry& entry : listing.entries) {
      const at::Tensor host = entry.values();
      writer.append(entry.spec.name, {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
    }
    writer.finish();
    exported.files = write_companions(source, staging.path(), model.setup().dtype,
                                      checkpoint::quantization_config(layout, false, listing.dense_linears));
    exported.files.insert(exported.files.begin(), kWeights);
    staging.commit();
    return exported;
  } catch (const fs::filesystem_error& e) {
    throw Error(fmt::format("[export] {}: {}", target.string(), e.what()));
  }
}

}  // namespace tetrad::train
