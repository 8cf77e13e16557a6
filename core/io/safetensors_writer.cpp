#include "io/safetensors_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/safetensors.h"

namespace tetrad::io {
namespace {

std::uint64_t checked_bytes(const TensorSpec& spec) {
  std::uint64_t bytes = dtype_size(spec.dtype);
  for (const std::int64_t extent : spec.shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes) ||
        bytes >> 62 != 0) {
      throw Error(fmt::format("[safetensors] tensor '{}' cannot be written: {} is not a size", spec.name,
                              describe(spec.dtype, spec.shape)));
    }
  }
  return bytes;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& target, std::vector<TensorSpec> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(target) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorSpec& a, const TensorSpec& b) {
    const std::size_t size_a = dtype_size(a.dtype), size_b = dtype_size(b.dtype);
    return size_a != size_b ? size_a > size_b : a.name < b.name;
  });
  // ordered_json keeps the entries in the order of the data, as readers of the raw header expect to see them.
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t data_bytes = 0;
  for (const TensorSpec& spec : tensors) {
    const std::uint64_t size = checked_bytes(spec);
    if (spec.name == "__metadata__" || !slots_.emplace(spec.name, Slot{data_bytes, size, 0}).second) {
      throw Error(fmt::format("[safetensors] {}: tensor name '{}' is {}", target.string(), spec.name,
                              spec.name == "__metadata__" ? "reserved" : "used twice"));
    }
    header.push_back({spec.name,
                      {{"dtype", dtype_name(spec.dtype)},
                       {"shape", spec.shape},
                       {"data_offsets", std::array{data_bytes, data_bytes + size}}}});
    data_bytes += size;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    throw Error(fmt::format("[safetensors] {}: a tensor name or a metadata text is not valid UTF-8",
                            target.string()));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned in the file, hence in a mapping
  if (text.size() > SafetensorsFile::max_header_bytes) {
    throw Error(fmt::format("[safetensors] {}: the header would be {} bytes, the format allows {}",
                            target.string(), text.size(), SafetensorsFile::max_header_bytes));
  }
  std::array<std::byte, 8> length;
  for (std::size_t i = 0; i < 8; ++i)
    length[i] = static_cast<std::byte>(std::uint64_t{text.size()} >> (8 * i) & 0xFF);
  for (auto& [name, slot] : slots_) slot.offset += length.size() + text.size();
  file_bytes_ = length.size() + text.size() + data_bytes;
  file_.resize(file_bytes_);
  file_.write_at(0, length);
  file_.write_at(length.size(), std::as_bytes(std::span(text)));
}

void SafetensorsWriter::append(std::string_view name, std::span<const std::byte> bytes) {
  const auto found = slots_.find(name);
  if (found == slots_.end()) {
    throw Error(fmt::format("[safetensors] {}: tensor '{}' was not declared", file_.target().string(), name));
  }
  Slot& slot = found->second;
  if (bytes.size() > slot.size - slot.written) {
    throw Error(fmt::format("[safetensors] {}: tensor '{}' has room for {} bytes, got {} after {}",
                            file_.target().string(), name, slot.size, bytes.size(), slot.written));
  }
  file_.write_at(slot.offset + slot.written, bytes);
  slot.written += bytes.size();
}

void SafetensorsWriter::finish() {
  std::vector<std::string> incomplete;
  for (const auto& [name, slot] : slots_) {
    if (slot.written != slot.size)
      incomplete.push_back(fmt::format("'{}' ({} of {} bytes)", name, slot.written, slot.size));
  }
  if (!incomplete.empty()) {
    throw Error(fmt::format("[safetensors] {}: not written, because tensors are incomplete: {}",
                            file_.target().string(), fmt::join(incomplete, ", ")));
  }
  file_.commit();
}

void write_safetensors(const std::filesystem::path& target, std::span<const TensorData> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorSpec> specs;
  for (const TensorData& tensor : tensors) specs.push_back(tensor.spec);
  SafetensorsWriter writer(target, std::move(specs), metadata);
  for (const TensorData& tensor : tensors) writer.append(tensor.spec.name, tensor.bytes);
  writer.finish();
}

}  // namespace tetrad::io
