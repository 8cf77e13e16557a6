#include "train/checkpoint/checkpoint.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>
#include <map>
#include <utility>

#include "io/json.h"
#include "io/mapped_file.h"
#include "io/safetensors.h"
#include "sdk/base/printable.h"
#include "train/checkpoint/checksum.h"
#include "train/checkpoint/manifest.h"

namespace tetrad::train {
namespace {

std::string differences_text(const std::vector<std::string>& differences) {
  constexpr std::size_t shown = 20;
  std::string text;
  for (std::size_t i = 0; i < std::min(shown, differences.size()); ++i) text += "\n  " + differences[i];
  if (differences.size() > shown) text += fmt::format("\n  and {} more", differences.size() - shown);
  return text;
}

}  // namespace

struct Checkpoint::Content {
  std::filesystem::path folder;
  Manifest manifest;
  nlohmann::json state;
  std::vector<io::SafetensorsFile> files;  // as manifest.groups
  std::vector<io::TensorSpec> tensors;
  std::map<std::string, std::string, std::less<>> checksums;  // by tensor
  mutable bool verified = false;

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("[checkpoint] {}: {}", printable(folder.string()), what));
  }

  void read_state() {
    const io::MappedFile file(folder / state_name);
    if (file.bytes().size() != manifest.state_bytes) {
      fail(fmt::format("{} is {} bytes long, and was written with {}", state_name, file.bytes().size(),
                       manifest.state_bytes));
    }
    if (Sha256().update(file.bytes().data(), file.bytes().size()).hex_digest() != manifest.state_sha256)
      fail(fmt::format("{} is damaged: its checksum differs", state_name));
    state = io::parse_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
                           (folder / state_name).string());
    if (!state.is_object()) fail(fmt::format("{} is not an object", state_name));
  }

  void open_group(const ManifestGroup& group) {
    const std::string name = group_file(group.name);
    io::SafetensorsFile file = io::SafetensorsFile::open(folder / name);
    if (file.file_bytes() != group.bytes)
      fail(fmt::format("{} is {} bytes long, and was written with {}", name, file.file_bytes(), group.bytes));
    if (file.tensors().size() != group.tensors.size())
      fail(fmt::format("{} has {} tensors, the manifest {}", name, file.tensors().size(),
                       group.tensors.size()));
    for (const ManifestTensor& tensor : group.tensors) {
      const auto* found = file.find(tensor.spec.name);
      if (found == nullptr) fail(fmt::format("{} has no tensor '{}'", name, printable(tensor.spec.name)));
      if (found->dtype != tensor.spec.dtype || found->shape != tensor.spec.shape) {
        fail(fmt::format("{}: tensor '{}' is {}, and was written as {}", name, printable(tensor.spec.name),
                         io::describe(found->dtype, found->shape),
                         io::describe(tensor.spec.dtype, tensor.spec.shape)));
      }
      checksums[tensor.spec.name] = tensor.xxh3;
    }
    for (const auto& tensor : file.tensors()) tensors.push_back({tensor.name, tensor.dtype, tensor.shape});
    files.push_back(std::move(file));
  }
};

Checkpoint::Checkpoint(std::unique_ptr<Content> content) : content_(std::move(content)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Checkpoint Checkpoint::open(const std::filesystem::path& folder) {
  auto content = std::make_unique<Content>();
  content->folder = folder;
  content->manifest = read_manifest(folder / manifest_name);
  content->read_state();
  for (const ManifestGroup& group : content->manifest.groups) content->open_group(group);
  return Checkpoint(std::move(content));
}

std::int64_t Checkpoint::step() const noexcept {
  return content_->manifest.step;
}
const Identity& Checkpoint::identity() const noexcept {
  return content_->manifest.identity;
}
const std::filesystem::path& Checkpoint::folder() const noexcept {
  return content_->folder;
}
const nlohmann::json& Checkpoint::state() const noexcept {
  return content_->state;
}
const std::vector<io::TensorSpec>& Checkpoint::tensors() const noexcept {
  return content_->tensors;
}

std::uint64_t Checkpoint::bytes() const noexcept {
  std::uint64_t total = content_->manifest.state_bytes;
  for (const ManifestGroup& group : content_->manifest.groups) total += group.bytes;
  return total;
}

void Checkpoint::verify() const {
  for (const io::SafetensorsFile& file : content_->files) {
    for (const auto& tensor : file.tensors()) {
      const bool whole = checksum_hex(tensor.bytes) == content_->checksums.at(tensor.name);
      file.release(tensor);
      if (!whole) {
        content_->fail(fmt::format("{}: tensor '{}' is damaged: its checksum differs",
                                   file.path().filename().string(), printable(tensor.name)));
      }
    }
  }
  content_->verified = true;
}

void Checkpoint::require_identity(const Identity& expected) const {
  std::vector<std::string> differences;
  for (const auto& [key, value] : expected) {
    const auto found = identity().find(key);
    if (found == identity().end())
      differences.push_back(
          fmt::format("{}: this run has {}, the checkpoint nothing", key, printable(value)));
    else if (found->second != value)
      differences.push_back(fmt::format("{}: this run has {}, the checkpoint {}", key, printable(value),
                                        printable(found->second)));
  }
  for (const auto& [key, value] : identity())
    if (!expected.contains(key))
      differences.push_back(
          fmt::format("{}: the checkpoint has {}, this run nothing", printable(key), printable(value)));
  if (!differences.empty()) {
    content_->fail("it belongs to another run, so this one cannot go on from it:" +
                   differences_text(differences));
  }
}

void Checkpoint::require_tensors(const std::vector<io::TensorSpec>& expected) const {
  std::map<std::string_view, const io::TensorSpec*> stored;
  for (const io::TensorSpec& spec : tensors()) stored.emplace(spec.name, &spec);
  std::vector<std::string> differences;
  for (const io::TensorSpec& spec : expected) {
    const auto found = stored.find(spec.name);
    if (found == stored.end()) {
      differences.push_back(fmt::format("'{}' is missing in it", printable(spec.name)));
      continue;
    }
    const io::TensorSpec& other = *found->second;
    if (other.dtype != spec.dtype || other.shape != spec.shape) {
      differences.push_back(fmt::format("'{}' is {} in it, {} here", printable(spec.name),
                                        io::describe(other.dtype, other.shape),
                                        io::describe(spec.dtype, spec.shape)));
    }
    stored.erase(found);
  }
  for (const auto& [name, spec] : stored)
    differences.push_back(fmt::format("'{}' is in it and not here", printable(name)));
  if (!differences.empty()) content_->fail("its tensors are not this run's:" + differences_text(differences));
}

void Checkpoint::restore(const Take& take) const {
  if (!content_->verified) verify();
  for (const io::SafetensorsFile& file : content_->files) {
    for (const auto& tensor : file.tensors()) {
      take({tensor.name, tensor.dtype, tensor.shape}, tensor.bytes);
      file.release(tensor);
    }
  }
}

std::span<const std::byte> Checkpoint::tensor(std::string_view name) const {
  for (const io::SafetensorsFile& file : content_->files)
    if (const auto* found = file.find(name)) return found->bytes;
  content_->fail(fmt::format("there is no tensor '{}'", printable(name)));
}

}  // namespace tetrad::train
