#include "io/weight_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "io/json.h"
#include "io/memory.h"
#include "sdk/base/printable.h"

namespace tetrad::io {
namespace fs = std::filesystem;

namespace {

constexpr const char* single_name = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";

bool inside(const fs::path& folder, const fs::path& file) {
  const auto [end, ignored] = std::mismatch(folder.begin(), folder.end(), file.begin(), file.end());
  return end == folder.end();
}

// The real path of a weight file named in `folder`. The name comes from a downloaded file, so it may be
// hostile.
fs::path resolve(const fs::path& folder, const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    throw Error(
        fmt::format("[weights] {}: weight file '{}' is refused: {}", folder.string(), printable(name), why));
  };
  const fs::path relative(name);
  if (name.empty() || name.find('\0') != name.npos) refuse("not a file name");
  if (relative.is_absolute()) refuse("an absolute path leaves the model directory");
  if (std::find(relative.begin(), relative.end(), "..") != relative.end())
    refuse("'..' leaves the model directory");
  if (relative.extension() != ".safetensors") refuse("only .safetensors files are read");
  std::error_code failed;
  const fs::path base = fs::canonical(folder, failed);
  const fs::path real = failed ? fs::path() : fs::canonical(folder / relative, failed);
  if (failed) refuse(fmt::format("{}; fetch the model again", failed.message()));
  if (inside(base, real)) return folder / relative;
  // .../models--org--name/snapshots/<revision>/file -> ../../blobs/<hash>
  const bool cache = base.parent_path().filename() == "snapshots";
  if (cache && inside(base.parent_path().parent_path() / "blobs", real)) return folder / relative;
  refuse(fmt::format("it is a link to {}, outside the model directory", real.string()));
  return {};
}

std::map<std::string, std::string> read_weight_map(const fs::path& file) {
  const nlohmann::json index = read_json(file);
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("[weights] {}: {}", file.string(), what));
  };
  if (!index.is_object()) fail(fmt::format("not an object but {}", index.type_name()));
  const auto found = index.find("weight_map");
  if (found == index.end()) fail("'weight_map' is missing");
  if (!found->is_object()) fail(fmt::format("'weight_map' is not an object but {}", found->type_name()));
  if (found->empty()) fail("'weight_map' is empty");
  std::map<std::string, std::string> result;
  for (const auto& [name, shard] : found->items()) {
    if (!shard.is_string())
      fail(
          fmt::format("'weight_map' gives no file name for '{}' but {}", printable(name), shard.type_name()));
    result.emplace(name, shard.get<std::string>());
  }
  return result;
}

// "a, b, c and 17 more"
std::string some_of(const std::vector<std::string>& items) {
  constexpr std::size_t shown = 8;
  const auto end = items.begin() + static_cast<std::ptrdiff_t>(std::min(items.size(), shown));
  std::string text = fmt::format("{}", fmt::join(items.begin(), end, ", "));
  if (items.size() > shown) text += fmt::format(" and {} more", items.size() - shown);
  return text;
}

std::string what_is_there(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".bin" || extension == ".pth" || extension == ".pt" || extension == ".gguf") {
      return fmt::format("; '{}' is of another format, convert it to safetensors first",
                         entry.path().filename().string());
    }
  }
  return "; is it a Hugging Face model directory, wholly fetched?";
}

}  // namespace

WeightFiles WeightFiles::open(const fs::path& model) {
  WeightFiles result(model);
  std::error_code ignored;
  const auto status = fs::status(model, ignored);
  if (!fs::exists(status))
    throw Error(fmt::format("[weights] {}: no such file or directory", model.string()));
  if (!fs::is_directory(status)) {
    result.add_shard(model);
    result.index_tensors();
    return result;
  }
  const bool single = fs::exists(fs::symlink_status(model / single_name, ignored));
  const bool sharded = fs::exists(fs::symlink_status(model / index_name, ignored));
  if (single && sharded) {
    throw Error(fmt::format("[weights] {}: holds both {} and {}; remove the one that is not meant",
                            model.string(), single_name, index_name));
  }
  if (!single && !sharded) {
    throw Error(fmt::format("[weights] {}: no {} and no {} here{}", model.string(), single_name, index_name,
                            what_is_there(model)));
  }
  if (single) {
    result.add_shard(resolve(model, single_name));
    result.index_tensors();
    return result;
  }
  const auto weight_map = read_weight_map(model / index_name);
  std::set<std::string> names;
  for (const auto& [tensor, shard] : weight_map) names.insert(shard);
  std::vector<fs::path> files;
  for (const std::string& name : names) files.push_back(resolve(model, name));
  for (const fs::path& file : files) result.add_shard(file);
  result.check_index(weight_map, {names.begin(), names.end()});
  result.index_tensors();
  return result;
}

void WeightFiles::add_shard(const fs::path& file) {
  shards_.push_back(SafetensorsFile::open(file));
  if (shards_.back().tensors().empty())
    throw Error(fmt::format("[weights] {}: holds no tensors", file.string()));
}

void WeightFiles::check_index(const std::map<std::string, std::string>& weight_map,
                              const std::vector<std::string>& shard_names) {
  std::vector<std::string> missing, unlisted, twice;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    for (const TensorView& tensor : shards_[i].tensors()) {
      const auto listed = weight_map.find(tensor.name);
      if (listed == weight_map.end()) {
        unlisted.push_back(fmt::format("'{}' ({})", printable(tensor.name), printable(shard_names[i])));
      } else if (listed->second != shard_names[i]) {
        twice.push_back(fmt::format("'{}' ({}, listed for {})", printable(tensor.name),
                                    printable(shard_names[i]), printable(listed->second)));
      }
    }
  }
  for (const auto& [name, shard] : weight_map) {
    const auto at = std::lower_bound(shard_names.begin(), shard_names.end(), shard) - shard_names.begin();
    if (shards_[static_cast<std::size_t>(at)].find(name) == nullptr)
      missing.push_back(fmt::format("'{}' ({})", printable(name), printable(shard)));
  }
  std::string text;
  const auto add = [&](const char* what, const std::vector<std::string>& items) {
    if (!items.empty()) text += fmt::format("\n  {} {}: {}", items.size(), what, some_of(items));
  };
  add("listed but not in their file", missing);
  add("in a file but not listed", unlisted);
  add("in another file than listed", twice);
  if (!text.empty()) {
    throw Error(fmt::format("[weights] {}: the index and the files disagree; fetch the model again{}",
                            (path_ / index_name).string(), text));
  }
}

void WeightFiles::index_tensors() {
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    for (const TensorView& tensor : shards_[i].tensors()) {
      places_.emplace(tensor.name, Place{i, &tensor});
      order_.push_back(&tensor);
      tensor_bytes_ += tensor.bytes.size();
    }
  }
  const auto memory = system_memory();
  if (memory && tensor_bytes_ > memory->total / 16) page_cache_ = PageCache::drop;
}

const TensorView* WeightFiles::find(std::string_view name) const noexcept {
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : found->second.tensor;
}

const TensorView& WeightFiles::at(std::string_view name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  throw Error(fmt::format("[weights] {}: no tensor '{}' among the {} of {} file(s)", path_.string(), name,
                          order_.size(), shards_.size()));
}

const fs::path& WeightFiles::file_of(std::string_view name) const {
  at(name);
  return shards_[places_.at(name).shard].path();
}

void WeightFiles::prefetch(const TensorView& tensor) const noexcept {
  const auto found = places_.find(tensor.name);
  if (found != places_.end()) shards_[found->second.shard].prefetch(tensor);
}

void WeightFiles::release(const TensorView& tensor) const noexcept {
  const auto found = places_.find(tensor.name);
  if (found != places_.end()) shards_[found->second.shard].release(tensor, page_cache_);
}

std::string WeightFiles::identity() const {
  Sha256 hash;
  for (const SafetensorsFile& shard : shards_) {
    const std::string size = fmt::format("{};", shard.file_bytes());
    hash.update(size);
    hash.update(shard.header().data(), shard.header().size());
    for (const TensorView& tensor : shard.tensors()) {
      const std::size_t part = std::min<std::size_t>(64, tensor.bytes.size());
      for (const std::size_t at :
           {std::size_t{0}, (tensor.bytes.size() - part) / 2, tensor.bytes.size() - part}) {
        hash.update(tensor.bytes.data() + at, part);
      }
    }
  }
  return "sampled-sha256:" + hash.hex_digest();
}

std::string WeightFiles::content_sha256() const {
  Sha256 hash;
  constexpr std::size_t piece = std::size_t{16} << 20;
  for (const SafetensorsFile& shard : shards_) {
    auto rest = shard.mapping().bytes();
    while (!rest.empty()) {
      const auto now = rest.first(std::min(piece, rest.size()));
      hash.update(now.data(), now.size());
      shard.mapping().release(now, page_cache_);
      rest = rest.subspan(now.size());
    }
  }
  return "sha256:" + hash.hex_digest();
}

}  // namespace tetrad::io
