#include "checkpoint/checkpoint.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <utility>

#include "checkpoint/assemble.h"
#include "io/memory.h"

namespace tetrad::checkpoint {
namespace fs = std::filesystem;

Checkpoint Checkpoint::open(const fs::path& path) {
  Checkpoint result(path);
  std::error_code failed;
  std::vector<const io::TensorView*> stored;
  if (!fs::is_directory(path, failed) && path.extension() == ".dat") {
    result.dat_ = DatFile::open(path);
    result.quantization_.layout = Layout::dat;
    for (const io::TensorView& tensor : result.dat_->tensors()) stored.push_back(&tensor);
  } else {
    result.files_ = io::WeightFiles::open(path);
    result.quantization_ = read_quantization(fs::is_directory(path, failed) ? path : path.parent_path());
    stored = result.files_->tensors();
  }
  Assembled assembled = assemble(stored, result.quantization_, path.string());
  result.tensors_ = std::move(assembled.tensors);
  result.parts_ = std::move(assembled.parts);
  for (std::size_t i = 0; i < result.tensors_.size(); ++i) {
    result.index_.emplace(result.tensors_[i].name, i);
    result.tensor_bytes_ += result.tensors_[i].stored_bytes;
  }
  if (result.quantization_.activations) {
    result.quantization_.notes.emplace_back(
        "the checkpoint brings scales for 4-bit activations (W4A4); activations are not quantised here");
  }
  return result;
}

const Tensor* Checkpoint::find(std::string_view name) const noexcept {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

void Checkpoint::visit_parts(const Tensor& tensor,
                             const std::function<void(const io::TensorView&)>& visit) const {
  const auto found = parts_.find(tensor.name);
  if (found == parts_.end()) return;
  for (const io::TensorView* part : found->second) visit(*part);
}

void Checkpoint::prefetch(const Tensor& tensor) const noexcept {
  visit_parts(tensor, [&](const io::TensorView& part) {
    if (files_) {
      files_->prefetch(part);
    } else {
      dat_->mapping().prefetch(part.bytes);
    }
  });
}

void Checkpoint::release(const Tensor& tensor) const noexcept {
  visit_parts(tensor, [&](const io::TensorView& part) {
    if (files_) {
      files_->release(part);
      return;
    }
    const auto memory = io::system_memory();
    const bool large = memory && dat_->mapping().bytes().size() > memory->total / 16;
    dat_->mapping().release(part.bytes, large ? io::PageCache::drop : io::PageCache::keep);
  });
}

std::string Checkpoint::identity() const {
  return files_ ? files_->identity() : dat_->identity();
}

std::string Checkpoint::summary() const {
  std::string text = path_.string();
  if (files_) {
    text = files_->shards().size() == 1 ? files_->shards().front().path().string()
                                        : fmt::format("{} ({} shards)", text, files_->shards().size());
  }
  return quantised() ? fmt::format("{} [{}]", text, layout_name(layout())) : text;
}

void Checkpoint::adapt(model::ModelConfig& config) const {
  if (layout() == Layout::dat && find(model::head_name) != nullptr) config.tie_word_embeddings = false;
}

model::NameCheck Checkpoint::check_names(const model::ModelConfig& config) const {
  std::vector<model::StoredTensor> stored;
  stored.reserve(tensors_.size());
  for (const Tensor& tensor : tensors_)
    stored.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes, tensor.planes.has_value()});
  return model::check_names(path_, stored, config);
}

fs::path config_directory(const fs::path& weights, const std::optional<fs::path>& config_from) {
  if (config_from) return *config_from;
  std::error_code failed;
  if (fs::is_directory(weights, failed) || !fs::exists(weights, failed)) return weights;
  throw Error(
      ExitCode::usage,
      fmt::format("[checkpoint] {} is a single file: say with --config-from which model directory its "
                  "config.json and tokenizer come from",
                  weights.string()));
}

}  // namespace tetrad::checkpoint
