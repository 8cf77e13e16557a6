#include "io/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "io/json.h"
#include "sdk/base/printable.h"

namespace tetrad::io {
namespace {

using nlohmann::json;

constexpr std::size_t length_bytes = 8;
constexpr std::size_t max_rank = 32;

std::uint64_t read_little_endian(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) value |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  return value;
}

// One header entry with the file's name and the tensor's name for messages.
struct Entry {
  const std::string& file;
  const std::string& name;
  const json& value;

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("[safetensors] {}: tensor '{}': {}", file, printable(name), what));
  }

  const json& field(const char* key) const {
    const auto found = value.find(key);
    if (found == value.end()) fail(fmt::format("'{}' is missing", key));
    return *found;
  }

  // A list of whole numbers that fit int64.
  std::vector<std::int64_t> numbers(const char* key, std::size_t max_count) const {
    const json& list = field(key);
    if (!list.is_array()) fail(fmt::format("'{}' is not a list but {}", key, list.type_name()));
    if (list.size() > max_count)
      fail(fmt::format("'{}' has {} numbers, at most {} make sense", key, list.size(), max_count));
    std::vector<std::int64_t> result;
    for (const json& item : list) {
      if (!item.is_number_unsigned() ||
          item.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
        fail(fmt::format("'{}' holds {}, which is not a whole number from 0 to 2^63-1", key,
                         printable(item.dump())));
      }
      result.push_back(item.get<std::int64_t>());
    }
    return result;
  }
};

std::uint64_t checked_bytes(const Entry& entry, DType dtype, std::span<const std::int64_t> shape) {
  std::uint64_t bytes = dtype_size(dtype);
  for (const std::int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) {
      entry.fail(fmt::format("the size of {} does not fit 64 bits", describe(dtype, shape)));
    }
  }
  return bytes;
}

struct Placed {
  TensorView tensor;
  std::uint64_t begin;
  std::uint64_t end;
};

Placed parse_entry(const Entry& entry, std::uint64_t data_bytes) {
  if (!entry.value.is_object())
    entry.fail(fmt::format("the header entry is not an object but {}", entry.value.type_name()));
  for (const auto& [key, ignored] : entry.value.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      entry.fail(fmt::format("unknown field '{}'", printable(key)));
  }
  const json& dtype_field = entry.field("dtype");
  if (!dtype_field.is_string())
    entry.fail(fmt::format("'dtype' is not a string but {}", dtype_field.type_name()));
  const auto dtype = dtype_from_name(dtype_field.get_ref<const std::string&>());
  if (!dtype) entry.fail(fmt::format("unknown dtype {}", printable(dtype_field.dump())));

  Placed placed{{entry.name, *dtype, entry.numbers("shape", max_rank), {}}, 0, 0};
  const auto offsets = entry.numbers("data_offsets", 2);
  if (offsets.size() != 2)
    entry.fail(fmt::format("'data_offsets' has {} numbers instead of 2", offsets.size()));
  placed.begin = static_cast<std::uint64_t>(offsets[0]);
  placed.end = static_cast<std::uint64_t>(offsets[1]);
  if (placed.begin > placed.end) {
    entry.fail(fmt::format("data_offsets [{}, {}] end before they begin", placed.begin, placed.end));
  }
  const std::uint64_t needed = checked_bytes(entry, *dtype, placed.tensor.shape);
  if (placed.end - placed.begin != needed) {
    entry.fail(fmt::format("{} needs {} bytes, data_offsets [{}, {}] give {}",
                           describe(*dtype, placed.tensor.shape), needed, placed.begin, placed.end,
                           placed.end - placed.begin));
  }
  if (placed.end > data_bytes) {
    entry.fail(fmt::format(
        "ends at byte {} of the data, which has only {}; the file is cut short or damaged, fetch it again",
        placed.end, data_bytes));
  }
  return placed;
}

}  // namespace

std::string describe(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string describe(DType dtype, std::span<const std::int64_t> shape) {
  return fmt::format("{} {}", dtype_name(dtype), describe(shape));
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& file) {
  SafetensorsFile result{MappedFile(file)};
  result.parse();
  return result;
}

void SafetensorsFile::parse() {
  const std::string file = path().string();
  const auto fail = [&](const std::string& what) {
    throw Error(fmt::format("[safetensors] {}: {}", file, what));
  };
  const auto all = file_.bytes();
  if (all.size() < length_bytes) {
    fail(fmt::format("{} bytes are too few for a safetensors file; it is cut short or something else",
                     all.size()));
  }
  const std::uint64_t length = read_little_endian(all);
  if (length > max_header_bytes) {
    fail(fmt::format(
        "the header would be {} bytes, more than the {} that the format allows; not a safetensors file?",
        length, max_header_bytes));
  }
  if (length > all.size() - length_bytes) {
    fail(fmt::format(
        "the header should be {} bytes, but only {} follow; the file is cut short, fetch it again", length,
        all.size() - length_bytes));
  }
  header_bytes_ = length_bytes + length;
  const std::string_view text(reinterpret_cast<const char*>(all.data()) + length_bytes, length);
  if (!text.starts_with('{')) fail("the header does not begin with '{'; not a safetensors file?");
  const json header = parse_json(text, file + " (header)", {max_header_bytes, 8, std::size_t{4} << 20});

  const auto data = all.subspan(header_bytes_);
  std::vector<Placed> placed;
  placed.reserve(header.size());
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") {
      placed.push_back(parse_entry({file, name, value}, data.size()));
      continue;
    }
    if (!value.is_object()) fail(fmt::format("__metadata__ is not an object but {}", value.type_name()));
    for (const auto& [key, item] : value.items()) {
      if (!item.is_string())
        fail(fmt::format("__metadata__ '{}' is not a string but {}", printable(key), item.type_name()));
      metadata_.emplace(key, item.get<std::string>());
    }
  }

  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::tie(a.begin, a.end, a.tensor.name) < std::tie(b.begin, b.end, b.tensor.name);
  });
  std::uint64_t at = 0;
  const std::string* previous = nullptr;
  for (const Placed& p : placed) {
    if (p.begin != at) {
      const std::string before =
          previous ? fmt::format("tensor '{}' ends", printable(*previous)) : std::string("the data begins");
      const std::string name = printable(p.tensor.name);
      if (p.begin < at) {
        fail(fmt::format("tensor '{}' overlaps: it begins at byte {}, but {} at {}", name, p.begin, before,
                         at));
      }
      fail(
          fmt::format("a gap of {} bytes before tensor '{}': {} at byte {}", p.begin - at, name, before, at));
    }
    at = p.end;
    previous = &p.tensor.name;
  }
  if (at != data.size())
    fail(fmt::format("{} bytes follow the last tensor; the file is damaged", data.size() - at));

  tensors_.reserve(placed.size());
  for (Placed& p : placed) {
    p.tensor.bytes = data.subspan(p.begin, p.end - p.begin);
    tensors_.push_back(std::move(p.tensor));
  }
  for (std::size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

const TensorView* SafetensorsFile::find(std::string_view name) const noexcept {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorView& SafetensorsFile::at(std::string_view name) const {
  if (const Tensor* tensor = find(name)) return *tensor;
  throw Error(
      fmt::format("[safetensors] {}: no tensor '{}' among its {}", path().string(), name, tensors_.size()));
}

}  // namespace tetrad::io
