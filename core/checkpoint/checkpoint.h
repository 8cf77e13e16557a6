// The weights of a model whatever their layout: a Hugging Face directory (dense, compressed-tensors,
// ModelOpt, Tetrad's planes), one .safetensors file, or the predecessor's .dat. Contract: after open() every
// part of every plane was found, typed, shaped and matched, every fp32 scale is positive and finite, and no
// tensor is of another layout; all that is wrong is reported at once. Nothing is copied or decoded. Block
// scales are checked by check_block_scales() where a tensor is read.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/dat_file.h"
#include "checkpoint/quantization.h"
#include "checkpoint/tensor.h"
#include "io/weight_files.h"
#include "model/config.h"
#include "model/names.h"

namespace tetrad::checkpoint {

class Checkpoint {
 public:
  // Throws Error "[checkpoint] ...", or the readers' own.
  static Checkpoint open(const std::filesystem::path& path);

  Layout layout() const noexcept { return quantization_.layout; }
  bool quantised() const noexcept { return layout() != Layout::dense; }
  const Quantization& quantization() const noexcept { return quantization_; }

  // In the order in which they lie in the files (a plane where its codes lie).
  const std::vector<Tensor>& tensors() const noexcept { return tensors_; }
  const Tensor* find(std::string_view name) const noexcept;

  void prefetch(const Tensor& tensor) const noexcept;
  // Gives the pages of all its parts back, see io::WeightFiles::release().
  void release(const Tensor& tensor) const noexcept;

  const std::filesystem::path& path() const noexcept { return path_; }
  std::uint64_t tensor_bytes() const noexcept { return tensor_bytes_; }
  std::string identity() const;
  // "DIR/model.safetensors", "DIR (3 shards)", with the layout where it is not dense.
  std::string summary() const;
  // What of the files is not used, for people.
  const std::vector<std::string>& notes() const noexcept { return quantization_.notes; }

  // Adjusts `config` to what these weights are: a .dat always holds the head apart, also for a model whose
  // config ties it to the embedding.
  void adapt(model::ModelConfig& config) const;
  // model::check_names() over these tensors.
  model::NameCheck check_names(const model::ModelConfig& config) const;

 private:
  explicit Checkpoint(std::filesystem::path path) : path_(std::move(path)) {}
  void visit_parts(const Tensor& tensor, const std::function<void(const io::TensorView&)>& visit) const;

  std::filesystem::path path_;
  Quantization quantization_;
  std::optional<io::WeightFiles> files_;
  std::optional<DatFile> dat_;
  std::vector<Tensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::map<std::string, std::vector<const io::TensorView*>, std::less<>> parts_;  // by weight
  std::uint64_t tensor_bytes_ = 0;
};

// Where config.json and the tokenizer of `weights` lie: `config_from` if given, else `weights` itself. Throws
// Error(usage) when `weights` is a single file and `config_from` is missing.
std::filesystem::path config_directory(const std::filesystem::path& weights,
                                       const std::optional<std::filesystem::path>& config_from);

}  // namespace tetrad::checkpoint
