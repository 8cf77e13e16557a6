// The weights of a Hugging Face model directory as one set of named tensors: model.safetensors, or shards
// listed in model.safetensors.index.json. Contract: after open() every file is mapped and checked, the index
// and the shards agree about every tensor in both directions, and no file outside the directory is opened (a
// link into the blob store of a Hugging Face cache, where the directory itself lies in one, is the
// exception). Nothing is copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/safetensors.h"

namespace tetrad::io {

class WeightFiles {
 public:
  // `model` is a model directory, or one .safetensors file. Throws Error "[weights] ..." naming every
  // disagreement.
  static WeightFiles open(const std::filesystem::path& model);

  // Tensors in the order in which they lie in the files, so that reading them one after another is
  // sequential.
  const std::vector<const TensorView*>& tensors() const noexcept { return order_; }
  const TensorView* find(std::string_view name) const noexcept;
  const TensorView& at(std::string_view name) const;
  // The file that holds a tensor, for messages.
  const std::filesystem::path& file_of(std::string_view name) const;

  const std::vector<SafetensorsFile>& shards() const noexcept { return shards_; }
  const std::filesystem::path& path() const noexcept { return path_; }
  std::uint64_t tensor_bytes() const noexcept { return tensor_bytes_; }

  void prefetch(const TensorView& tensor) const noexcept;
  // Gives the tensor's pages back. The kernel's cached copy is kept for the next start, unless the weights
  // are more than 1/16 of the machine's memory: then it is dropped too, because a GPU may share that memory.
  void release(const TensorView& tensor) const noexcept;

  // Fast fingerprint, "sampled-sha256:<hex>": SHA-256 over each file's size and header and 64 bytes from the
  // start, middle and end of every tensor, in the order of the file names (which do not enter). Any changed
  // tensor list, shape or layout changes it, and so does training; a deliberate edit of single elements may
  // not: see content_sha256().
  std::string identity() const;
  // "sha256:<hex>" over all bytes of all files in the order of their names. Reads everything: seconds per GB.
  std::string content_sha256() const;

 private:
  struct Place {
    std::size_t shard;
    const TensorView* tensor;
  };

  explicit WeightFiles(std::filesystem::path path) : path_(std::move(path)) {}
  void add_shard(const std::filesystem::path& file);
  void index_tensors();
  void check_index(const std::map<std::string, std::string>& weight_map,
                   const std::vector<std::string>& shard_names);

  std::filesystem::path path_;
  std::vector<SafetensorsFile> shards_;
  std::vector<const TensorView*> order_;
  std::map<std::string_view, Place> places_;  // views into shards_, which never changes after open()
  std::uint64_t tensor_bytes_ = 0;
  PageCache page_cache_ = PageCache::keep;
};

}  // namespace tetrad::io
