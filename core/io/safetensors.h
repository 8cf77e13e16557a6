// Reads one safetensors file: 8 bytes of header length (little endian), a JSON header, then the tensors'
// bytes. The file is mapped, never copied, and treated as hostile: everything the header says is checked
// before anything is believed. Contract: after open() succeeded, every tensor's bytes lie inside the file,
// tensors neither overlap nor leave gaps, sizes equal shape times element size, and the last tensor ends with
// the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/dtype.h"
#include "io/mapped_file.h"

namespace tetrad::io {

// A stored tensor. The bytes are little endian, row-major, and need not be aligned to the element size.
struct TensorView {
  std::string name;
  DType dtype = DType::u8;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  std::int64_t elements() const noexcept {
    return static_cast<std::int64_t>(bytes.size() / dtype_size(dtype));
  }
};

// "BF16 [576, 1536]", for messages.
std::string describe(DType dtype, std::span<const std::int64_t> shape);
std::string describe(std::span<const std::int64_t> shape);

class SafetensorsFile {
 public:
  using Tensor = TensorView;
  static constexpr std::size_t max_header_bytes = 100'000'000;  // the format's own limit

  // Maps and checks the file. Throws Error "[safetensors] FILE: ..." naming what is wrong and where.
  static SafetensorsFile open(const std::filesystem::path& file);

  // In the order in which they lie in the file.
  const std::vector<Tensor>& tensors() const noexcept { return tensors_; }
  // nullptr when there is no such tensor.
  const Tensor* find(std::string_view name) const noexcept;
  // Throws Error when there is no such tensor.
  const Tensor& at(std::string_view name) const;

  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  const std::filesystem::path& path() const noexcept { return file_.path(); }
  std::uint64_t file_bytes() const noexcept { return file_.bytes().size(); }
  // The JSON text with its length in front.
  std::span<const std::byte> header() const noexcept { return file_.bytes().first(header_bytes_); }
  const MappedFile& mapping() const noexcept { return file_; }

  // Starts reading a tensor's pages in the background.
  void prefetch(const Tensor& tensor) const noexcept { file_.prefetch(tensor.bytes); }
  // Gives a tensor's pages back once its values are where they belong. The view stays valid, reading it again
  // costs I/O.
  void release(const Tensor& tensor, PageCache cache = PageCache::keep) const noexcept {
    file_.release(tensor.bytes, cache);
  }

 private:
  explicit SafetensorsFile(MappedFile file) : file_(std::move(file)) {}
  void parse();

  MappedFile file_;
  std::size_t header_bytes_ = 0;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string_view, std::size_t>
      index_;  // views into tensors_, which never changes after parse()
  std::map<std::string, std::string> metadata_;
};

}  // namespace tetrad::io
