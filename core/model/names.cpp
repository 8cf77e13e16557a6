#include "model/names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "sdk/base/printable.h"

namespace tetrad::model {
namespace {

bool ends_with_rotary_table(std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq");
}

bool floating(io::DType dtype) {
  return dtype == io::DType::f32 || dtype == io::DType::bf16 || dtype == io::DType::f16;
}

class Report {
 public:
  void add(const char* kind, std::vector<std::string> items) {
    if (items.empty()) return;
    constexpr std::size_t shown = 20;
    text_ += fmt::format("\n  {} {}:", items.size(), kind);
    for (std::size_t i = 0; i < std::min(items.size(), shown); ++i) text_ += "\n    " + items[i];
    if (items.size() > shown) text_ += fmt::format("\n    and {} more", items.size() - shown);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// What is wrong with a head that is stored although it is tied to the embedding; empty when they are equal.
std::string tied_difference(const StoredTensor& embedding, const StoredTensor& head) {
  const bool dense = !embedding.planes && !head.planes;
  if (dense && embedding.dtype == head.dtype && std::ranges::equal(embedding.shape, head.shape) &&
      std::ranges::equal(embedding.bytes, head.bytes))
    return {};
  return fmt::format(
      "\n  {} is stored beside {} and differs from it{}, although config.json says tie_word_embeddings: "
      "true;\n"
      "    set it to false if the head is a matrix of its own",
      head_name, embedding_name, dense ? "" : " (one of them is quantised)");
}

}  // namespace

const char* tensor_role_name(TensorRole role) noexcept {
  switch (role) {
    case TensorRole::embedding:
      return "embedding";
    case TensorRole::linear:
      return "linear";
    case TensorRole::norm:
      return "norm";
  }
  return "unknown";
}

std::vector<ExpectedTensor> expected_tensors(const ModelConfig& config) {
  const std::int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const std::int64_t q = config.q_size(), kv = config.kv_size();
  std::vector<ExpectedTensor> result;
  result.push_back({embedding_name,
                    {config.vocab_size, hidden},
                    TensorRole::embedding,
                    -1,
                    false,
                    config.tie_word_embeddings ? 2 : 1});
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    const auto add = [&](const char* name, std::vector<std::int64_t> shape) {
      const TensorRole role = shape.size() == 1 ? TensorRole::norm : TensorRole::linear;
      result.push_back({prefix + name + ".weight", std::move(shape), role, layer});
    };
    add("input_layernorm", {hidden});
    add("self_attn.q_proj", {q, hidden});
    add("self_attn.k_proj", {kv, hidden});
    add("self_attn.v_proj", {kv, hidden});
    if (config.qk_norm) {
      add("self_attn.q_norm", {config.head_dim});
      add("self_attn.k_norm", {config.head_dim});
    }
    add("self_attn.o_proj", {hidden, q});
    add("post_attention_layernorm", {hidden});
    add("mlp.gate_proj", {inner, hidden});
    add("mlp.up_proj", {inner, hidden});
    add("mlp.down_proj", {hidden, inner});
  }
  result.push_back({final_norm_name, {hidden}, TensorRole::norm});
  if (!config.tie_word_embeddings) {
    result.push_back({head_name, {config.vocab_size, hidden}, TensorRole::linear, -1, true});
  }
  return result;
}

std::int64_t parameter_count(const ModelConfig& config) {
  std::int64_t count = 0;
  for (const ExpectedTensor& tensor : expected_tensors(config)) {
    std::int64_t elements = 1;
    for (const std::int64_t extent : tensor.shape) elements *= extent;
    count += elements;
  }
  return count;
}

NameCheck check_names(const std::filesystem::path& where, std::span<const StoredTensor> weights,
                      const ModelConfig& config) {
  std::vector<std::string> missing, unexpected, misshapen, mistyped;
  std::map<std::string_view, const StoredTensor*> found;
  for (const StoredTensor& stored : weights) found.emplace(stored.name, &stored);
  std::set<std::string_view> known;
  const std::vector<ExpectedTensor> all = expected_tensors(config);
  for (const ExpectedTensor& expected : all) {
    known.insert(expected.name);
    const auto at = found.find(expected.name);
    if (at == found.end()) {
      missing.push_back(fmt::format("{} {}", expected.name, io::describe(expected.shape)));
    } else if (const StoredTensor& stored = *at->second; !std::ranges::equal(stored.shape, expected.shape)) {
      misshapen.push_back(fmt::format("{} is {}, config.json asks for {}", expected.name,
                                      io::describe(stored.shape), io::describe(expected.shape)));
    } else if (!stored.planes && !floating(stored.dtype)) {
      mistyped.push_back(
          fmt::format("{} is {}, not F32, BF16 or F16", expected.name, io::dtype_name(stored.dtype)));
    }
  }
  NameCheck result;
  std::string tied_error;
  for (const StoredTensor& stored : weights) {
    if (known.contains(stored.name)) continue;
    if (config.tie_word_embeddings && stored.name == head_name) {
      const auto embedding = found.find(embedding_name);
      if (embedding != found.end()) tied_error = tied_difference(*embedding->second, stored);
      result.ignored.emplace_back(stored.name);
    } else if (ends_with_rotary_table(stored.name)) {
      result.ignored.emplace_back(stored.name);
    } else {
      unexpected.push_back(fmt::format(
          "{} {}", printable(stored.name),
          stored.planes ? "NVFP4 " + io::describe(stored.shape) : io::describe(stored.dtype, stored.shape)));
    }
  }
  Report report;
  report.add("missing", std::move(missing));
  report.add("not part of the model", std::move(unexpected));
  report.add("of a wrong shape", std::move(misshapen));
  report.add("of a wrong type", std::move(mistyped));
  if (!report.text().empty() || !tied_error.empty()) {
    throw Error(
        fmt::format("[model] {}: the weights are not those of the {} model that config.json describes "
                    "({} tensors stored, {} expected){}{}",
                    where.string(), architecture_name(config.architecture), weights.size(), all.size(),
                    report.text(), tied_error));
  }
  return result;
}

NameCheck check_names(const io::WeightFiles& weights, const ModelConfig& config) {
  std::vector<StoredTensor> stored;
  for (const io::TensorView* tensor : weights.tensors())
    stored.push_back({tensor->name, tensor->dtype, tensor->shape, tensor->bytes});
  return check_names(weights.path(), stored, config);
}

}  // namespace tetrad::model
