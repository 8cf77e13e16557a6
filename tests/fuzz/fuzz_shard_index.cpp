// model.safetensors.index.json in a folder with two shards, beside files that must never be opened: one above
// the folder, and links that lead there.
#include "fuzz.h"
#include "io/safetensors_writer.h"
#include "io/weight_files.h"

#include <algorithm>
#include <span>

namespace {

using namespace tetrad;
namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "tetrad-fuzz-XXXXXX").string();
    fuzz::require(::mkdtemp(name.data()) != nullptr, "no temporary folder");
    root_ = fs::canonical(name);
    model_ = root_ / "model";
    fs::create_directories(model() / "sub");
    write(model() / "m-1.safetensors", {"a", "b"});
    write(model() / "m-2.safetensors", {"c"});
    write(model() / "sub/m-3.safetensors", {"d"});
    write(root_ / "outside.safetensors", {"a"});
    fs::create_symlink("../outside.safetensors", model() / "link.safetensors");
    fs::create_directory_symlink("..", model() / "up");
    fs::create_symlink(index_.path(), model() / "model.safetensors.index.json");
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const fs::path& model() const { return model_; }
  const fuzz::MemoryFile& index() const { return index_; }

 private:
  static void write(const fs::path& file, const std::vector<std::string>& names) {
    static constexpr std::byte bytes[4] = {};
    std::vector<io::TensorData> tensors;
    for (const std::string& name : names)
      tensors.push_back({{name, io::DType::u8, {4}}, std::span<const std::byte>(bytes)});
    io::write_safetensors(file, tensors);
  }

  fuzz::MemoryFile index_;
  fs::path root_, model_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  folder.index().assign(data, size);
  fuzz::accepts([] {
    const auto weights = io::WeightFiles::open(folder.model());
    for (const io::SafetensorsFile& shard : weights.shards()) {
      const fs::path real = fs::canonical(shard.path());
      const auto [end, rest] =
          std::mismatch(folder.model().begin(), folder.model().end(), real.begin(), real.end());
      fuzz::require(end == folder.model().end(), "a shard outside the model's folder was opened");
    }
    for (const io::TensorView* tensor : weights.tensors())
      fuzz::require(weights.find(tensor->name) == tensor, "a tensor is not found under its name");
  });
  return 0;
}
