#include "train/checkpoint/manifest.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "io/json.h"
#include "sdk/base/printable.h"

namespace tetrad::train {
namespace {

using Json = nlohmann::json;

constexpr const char* kind = "tetrad training checkpoint";

bool is_hex(const std::string& text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Typed access that names what is wrong.
class Reader {
 public:
  explicit Reader(std::string where) : where_(std::move(where)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw Error("[checkpoint] " + where_ + ": " + what);
  }

  const Json& member(const Json& object, const char* key) const {
    if (!object.is_object()) fail(fmt::format("no object where '{}' is looked for", key));
    const auto found = object.find(key);
    if (found == object.end()) fail(fmt::format("'{}' is missing", key));
    return *found;
  }
  std::string text(const Json& object, const char* key) const {
    const Json& value = member(object, key);
    if (!value.is_string()) fail(fmt::format("'{}' is not a text", key));
    return value.get<std::string>();
  }
  std::uint64_t count(const Json& object, const char* key) const {
    const Json& value = member(object, key);
    if (!value.is_number_integer() || value < 0 || value > (std::int64_t{1} << 62))
      fail(fmt::format("'{}' is not a count", key));
    return value.get<std::uint64_t>();
  }
  std::string sha256(const Json& object) const { return checksum(object, "sha256", 64); }
  std::string xxh3(const Json& object) const { return checksum(object, "xxh3", 32); }

  io::TensorSpec spec(const std::string& name, const Json& value) const {
    const auto dtype = io::dtype_from_name(text(value, "dtype"));
    if (!dtype) fail(fmt::format("tensor '{}' has an unknown dtype", printable(name)));
    io::TensorSpec result{name, *dtype, {}};
    const Json& shape = member(value, "shape");
    if (!shape.is_array()) fail(fmt::format("tensor '{}' has no shape", printable(name)));
    for (const Json& extent : shape) {
      if (!extent.is_number_integer() || extent < 0)
        fail(fmt::format("tensor '{}' has a shape of other things than sizes", printable(name)));
      result.shape.push_back(extent.get<std::int64_t>());
    }
    return result;
  }

 private:
  std::string checksum(const Json& object, const char* key, std::size_t digits) const {
    std::string value = text(object, key);
    if (!is_hex(value, digits)) fail(fmt::format("'{}' is not {} hexadecimal digits", key, digits));
    return value;
  }

  std::string where_;
};

}  // namespace

std::string group_file(std::string_view group) {
  return std::string(group) + ".safetensors";
}

bool is_group_name(std::string_view name) {
  return !name.empty() && name.size() <= 40 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::string manifest_text(const Manifest& manifest) {
  Json groups = Json::object();
  for (const ManifestGroup& group : manifest.groups) {
    Json tensors = Json::object();
    for (const ManifestTensor& tensor : group.tensors) {
      tensors[tensor.spec.name] = {
          {"dtype", io::dtype_name(tensor.spec.dtype)}, {"shape", tensor.spec.shape}, {"xxh3", tensor.xxh3}};
    }
    groups[group.name] = {{"bytes", group.bytes}, {"tensors", std::move(tensors)}};
  }
  const Json content = {{"kind", kind},
                        {"format", checkpoint_format},
                        {"step", manifest.step},
                        {"identity", manifest.identity},
                        {"state", {{"bytes", manifest.state_bytes}, {"sha256", manifest.state_sha256}}},
                        {"groups", std::move(groups)}};
  return Json{{"checkpoint", content}, {"sha256", sha256_hex(content.dump())}}.dump(1) + "\n";
}

Manifest read_manifest(const std::filesystem::path& file) {
  const Reader reader(printable(file.string()));
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored))
    reader.fail("there is no manifest, so this is no checkpoint, or one whose saving was interrupted");
  const Json whole = io::read_json(file);
  const Json& content = reader.member(whole, "checkpoint");
  if (reader.text(content, "kind") != kind) reader.fail("this is the manifest of something else");
  // Before the checksum: another format may count it otherwise.
  if (const auto format = reader.count(content, "format"); format != checkpoint_format) {
    reader.fail(fmt::format("the checkpoint is of format {}, and this version of Tetrad reads format {}",
                            format, checkpoint_format));
  }
  if (sha256_hex(content.dump()) != reader.sha256(whole)) reader.fail("damaged: its checksum differs");

  Manifest manifest;
  manifest.step = static_cast<std::int64_t>(reader.count(content, "step"));
  const Json& identity = reader.member(content, "identity");
  if (!identity.is_object()) reader.fail("'identity' is not an object");
  for (const auto& [key, value] : identity.items()) {
    if (!value.is_string()) reader.fail("'identity' has something else than texts in it");
    manifest.identity[key] = value.get<std::string>();
  }
  const Json& state = reader.member(content, "state");
  manifest.state_bytes = reader.count(state, "bytes");
  manifest.state_sha256 = reader.sha256(state);
  const Json& groups = reader.member(content, "groups");
  if (!groups.is_object()) reader.fail("'groups' is not an object");
  std::set<std::string> names;
  for (const auto& [name, value] : groups.items()) {
    if (!is_group_name(name)) reader.fail(fmt::format("'{}' is no name of a group", printable(name)));
    ManifestGroup group{name, reader.count(value, "bytes"), {}};
    const Json& tensors = reader.member(value, "tensors");
    if (!tensors.is_object()) reader.fail("'tensors' is not an object");
    for (const auto& [tensor, facts] : tensors.items()) {
      if (!names.insert(tensor).second)
        reader.fail(fmt::format("tensor '{}' is in two groups", printable(tensor)));
      group.tensors.push_back({reader.spec(tensor, facts), reader.xxh3(facts)});
    }
    manifest.groups.push_back(std::move(group));
  }
  return manifest;
}

}  // namespace tetrad::train
