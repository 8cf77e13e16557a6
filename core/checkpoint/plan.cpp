#include "checkpoint/plan.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <unordered_map>

namespace tetrad::checkpoint {
namespace {

std::uint64_t spec_bytes(const io::TensorSpec& spec) {
  std::uint64_t bytes = io::dtype_size(spec.dtype);
  for (const std::int64_t extent : spec.shape) bytes *= static_cast<std::uint64_t>(extent);
  return bytes;
}

std::string module_of(std::string_view weight) {
  constexpr std::string_view suffix = ".weight";
  if (weight.ends_with(suffix)) weight.remove_suffix(suffix.size());
  return std::string(weight);
}

// Weights that are multiplied with the same input and that other engines fuse; those want one global scale.
std::string fused_group(const std::string& name) {
  for (const char* part : {".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"}) {
    if (const auto at = name.find(part); at != std::string::npos) return name.substr(0, at) + ".qkv";
  }
  for (const char* part : {".mlp.gate_proj", ".mlp.up_proj"}) {
    if (const auto at = name.find(part); at != std::string::npos) return name.substr(0, at) + ".gate_up";
  }
  return name;
}

class Planner {
 public:
  Planner(const Checkpoint& source, const model::ModelConfig& config, Layout to, const Encoding& encoding)
      : source_(source), config_(config), encoding_(encoding) {
    plan_.layout = to;
    plan_.activations = to != Layout::dense && source.quantization().activations;
    keep_.layout = Layout::modelopt;  // for its wildcards
    keep_.ignore = encoding.keep;
  }

  Plan make(std::uint64_t max_shard_bytes) {
    std::unordered_map<std::string, model::ExpectedTensor> expected;
    for (model::ExpectedTensor& tensor : model::expected_tensors(config_))
      expected.emplace(tensor.name, std::move(tensor));
    for (const Tensor& tensor : source_.tensors()) {
      const auto wanted = expected.find(tensor.name);
      if (wanted == expected.end()) continue;  // rotary tables, the second copy of a tied head
      add(tensor, wanted->second);
    }
    if (config_.tie_word_embeddings) plan_.dense_linears.push_back(module_of(model::head_name));
    if (!complaints_.empty()) refuse();
    cut(max_shard_bytes);
    return std::move(plan_);
  }

 private:
  bool wants_planes(const Tensor& tensor, const model::ExpectedTensor& expected) const {
    if (expected.role == model::TensorRole::norm || plan_.layout == Layout::dense) return false;
    if (keep_.ignores(module_of(tensor.name))) return false;
    if (tensor.planes) return true;
    // Which weights are quantised is a quantised checkpoint's own statement; a conversion does not add any.
    if (source_.quantised()) return false;
    const bool embedding = expected.role == model::TensorRole::embedding;
    if (expected.head || (embedding && expected.uses > 1)) {
      if (encoding_.head == Choice::automatic) return plan_.layout == Layout::tetrad;
      return encoding_.head == Choice::packed;
    }
    return embedding ? encoding_.embedding == Choice::packed : true;
  }

  void add(const Tensor& tensor, const model::ExpectedTensor& expected) {
    const bool planes = wants_planes(tensor, expected);
    const bool embedding = expected.role == model::TensorRole::embedding;
    if (planes && embedding && plan_.layout != Layout::tetrad) {
      complaints_.push_back(
          fmt::format("'{}': the {} layout has no packed embeddings{}; use --format tetrad, "
                      "or make it dense with --keep '{}'",
                      tensor.name, layout_name(plan_.layout),
                      expected.uses > 1 ? ", and this one is the head too" : "", module_of(tensor.name)));
      return;
    }
    if (planes && !tensor.planes && tensor.shape[1] % 16 != 0) {
      complaints_.push_back(
          fmt::format("'{}' {} has rows of {}, no multiple of 16; keep it dense with --keep '{}'",
                      tensor.name, io::describe(tensor.shape), tensor.shape[1], module_of(tensor.name)));
      return;
    }
    Planned planned;
    planned.source = &tensor;
    if (planes) {
      planned.step = tensor.planes ? Step::planes : Step::encode;
      name_parts(tensor, planned);
      ++plan_.quantised;
    } else {
      planned.step = tensor.planes                                                      ? Step::decode
                     : plan_.layout == Layout::dense && tensor.dtype != io::DType::bf16 ? Step::narrow
                                                                                        : Step::copy;
      const bool bf16 = planned.step == Step::decode || planned.step == Step::narrow;
      planned.codes = tensor.name;
      planned.stored.push_back({tensor.name, bf16 ? io::DType::bf16 : tensor.dtype, tensor.shape});
      if (expected.role == model::TensorRole::linear) plan_.dense_linears.push_back(module_of(tensor.name));
    }
    plan_.bytes += planned.bytes();
    plan_.tensors.push_back(std::move(planned));
  }

  void name_parts(const Tensor& tensor, Planned& planned) {
    const Layout to = plan_.layout;
    const std::int64_t rows = tensor.shape[0], cols = tensor.shape[1];
    const auto name = [&](Part part) { return part_name(to, part, tensor.name); };
    planned.codes = name(Part::codes);
    planned.scales = name(Part::scales);
    planned.stored.push_back({planned.codes, io::DType::u8, {rows, cols / 2}});
    planned.stored.push_back({planned.scales, io::DType::f8_e4m3, {rows, cols / 16}});
    const std::vector<std::int64_t> single =
        to == Layout::compressed_tensors ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{};
    // Tetrad's layout keeps the sense that the scale had; the others have one.
    const bool had = tensor.planes ? tensor.planes->global.divides : false;
    planned.global_divides = to == Layout::tetrad ? had : to == Layout::compressed_tensors;
    planned.global = name(planned.global_divides ? Part::global_divisor : Part::global_factor);
    planned.stored.push_back({planned.global, io::DType::f32, single});
    if (!tensor.planes) {
      planned.scale_group = to == Layout::tetrad ? tensor.name : fused_group(tensor.name);
      return;
    }
    const float value = tensor.planes->global.value;
    if (planned.global_divides != had && 1.0F / (1.0F / value) != value) plan_.inverts = true;
    if (!tensor.planes->lo_codes.empty()) {
      planned.lo_codes = name(Part::lo_codes);
      if (planned.lo_codes.empty()) {
        complaints_.push_back(
            fmt::format("'{}' has two planes (hi+lo), the {} layout holds one; use --format "
                        "tetrad or hf-bf16",
                        tensor.name, layout_name(to)));
        return;
      }
      planned.stored.push_back({planned.lo_codes, io::DType::u8, {rows, cols / 2}});
    }
    if (tensor.planes->input) {
      planned.input_divides = to == Layout::tetrad ? tensor.planes->input->divides : planned.global_divides;
      planned.input = name(planned.input_divides ? Part::input_divisor : Part::input_factor);
      planned.stored.push_back({planned.input, io::DType::f32, single});
      // Planes that came through Tetrad's layout say by their scales alone that they are W4A4.
      plan_.activations = true;
    }
  }

  [[noreturn]] void refuse() const {
    constexpr std::size_t shown = 20;
    std::string text;
    for (std::size_t i = 0; i < std::min(shown, complaints_.size()); ++i) text += "\n  " + complaints_[i];
    if (complaints_.size() > shown) text += fmt::format("\n  and {} more", complaints_.size() - shown);
    throw Error(ExitCode::usage, fmt::format("[convert] {} cannot be written as {}:{}",
                                             source_.path().string(), layout_name(plan_.layout), text));
  }

  // Shards as Hugging Face names them; the parts of a weight stay together.
  void cut(std::uint64_t max_shard_bytes) {
    std::size_t shard = 0;
    std::uint64_t filled = 0;
    for (Planned& planned : plan_.tensors) {
      const std::uint64_t size = planned.bytes();
      if (filled > 0 && filled + size > max_shard_bytes) {
        ++shard;
        filled = 0;
      }
      planned.shard = shard;
      filled += size;
    }
    const std::size_t count = shard + 1;
    for (std::size_t i = 0; i < count; ++i) {
      plan_.shard_files.push_back(count == 1 ? "model.safetensors"
                                             : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, count));
    }
  }

  const Checkpoint& source_;
  const model::ModelConfig& config_;
  const Encoding& encoding_;
  Quantization keep_;
  Plan plan_;
  std::vector<std::string> complaints_;
};

}  // namespace

std::uint64_t Planned::bytes() const {
  std::uint64_t sum = 0;
  for (const io::TensorSpec& spec : stored) sum += spec_bytes(spec);
  return sum;
}

Plan make_plan(const Checkpoint& source, const model::ModelConfig& config, Layout to,
               const Encoding& encoding, std::uint64_t max_shard_bytes) {
  return Planner(source, config, to, encoding).make(max_shard_bytes);
}

}  // namespace tetrad::checkpoint
