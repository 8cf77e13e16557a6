// A safetensors file. What was accepted covers the file exactly once.
#include "fuzz.h"
#include "io/safetensors.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tetrad;
  static const fuzz::MemoryFile memory;
  memory.assign(data, size);
  fuzz::accepts([] {
    const auto file = io::SafetensorsFile::open(memory.path());
    std::uint64_t at = file.header().size();
    unsigned sum = 0;
    for (const io::TensorView& tensor : file.tensors()) {
      fuzz::require(file.find(tensor.name) == &tensor, "a tensor is not found under its name");
      const auto offset = static_cast<std::uint64_t>(tensor.bytes.data() - file.mapping().bytes().data());
      fuzz::require(tensor.bytes.empty() || offset == at, "tensors overlap or leave a gap");
      std::uint64_t bytes = io::dtype_size(tensor.dtype);
      for (const std::int64_t extent : tensor.shape) bytes *= static_cast<std::uint64_t>(extent);
      fuzz::require(bytes == tensor.bytes.size(), "a tensor's shape is not its size");
      for (const std::byte b : tensor.bytes) sum += std::to_integer<unsigned>(b);
      at += bytes;
    }
    fuzz::require(at == file.file_bytes() && sum != ~0U, "bytes of the file belong to no tensor");
  });
  return 0;
}
