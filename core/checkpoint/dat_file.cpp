#include "checkpoint/dat_file.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include "sdk/base/printable.h"

namespace tetrad::checkpoint {
namespace {

constexpr std::uint64_t max_key_bytes = 4096;
constexpr std::uint64_t max_dimensions = 8;
constexpr std::uint64_t least_entry_bytes = 4;  // a key of one byte, and no dimensions

std::optional<io::DType> element_type(std::uint64_t id) {
  switch (id) {
    case 0:
    case 100:
      return io::DType::u8;
    case 1:
      return io::DType::i8;
    case 2:
      return io::DType::i16;
    case 3:
      return io::DType::i32;
    case 4:
      return io::DType::i64;
    case 5:
      return io::DType::f16;
    case 6:
      return io::DType::f32;
    case 7:
      return io::DType::f64;
    case 11:
      return io::DType::boolean;
    case 15:
      return io::DType::bf16;
    case 101:
      return io::DType::f8_e4m3;
    default:
      return std::nullopt;
  }
}

class Cursor {
 public:
  explicit Cursor(const io::MappedFile& file) : file_(file), bytes_(file.bytes()) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(fmt::format("[dat] {}: entry {}, offset {}: {}", file_.path().string(), entry, at_, what));
  }

  std::uint64_t number(const char* what) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      if (at_ == bytes_.size()) fail(fmt::format("the file ends inside {}; it is cut off", what));
      const auto byte = std::to_integer<std::uint64_t>(bytes_[at_]);
      if (shift == 63 && byte > 1) fail(fmt::format("{} is no 64-bit number; not a .dat file?", what));
      value |= (byte & 0x7F) << shift;
      ++at_;
      if ((byte & 0x80) == 0) return value;
    }
  }

  std::span<const std::byte> take(std::uint64_t count, const std::string& what) {
    if (count > bytes_.size() - at_) {
      fail(fmt::format("{} needs {} bytes, {} are left; the file is cut off or no .dat file", what, count,
                       bytes_.size() - at_));
    }
    const auto part = bytes_.subspan(at_, static_cast<std::size_t>(count));
    at_ += static_cast<std::size_t>(count);
    return part;
  }

  std::uint64_t left() const { return bytes_.size() - at_; }

  std::uint64_t entry = 0;  // 1-based; 0 is the count itself

 private:
  const io::MappedFile& file_;
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

}  // namespace

DatFile DatFile::open(const std::filesystem::path& file) {
  DatFile result{io::MappedFile(file)};
  result.parse();
  return result;
}

void DatFile::parse() {
  Cursor cursor(file_);
  const std::uint64_t count = cursor.number("the entry count");
  if (count == 0) cursor.fail("no entries");
  if (count > cursor.left() / least_entry_bytes) {
    cursor.fail(fmt::format("{} entries cannot lie in {} bytes; cut off, or not a .dat file", count,
                            file_.bytes().size()));
  }
  std::unordered_set<std::string> keys;
  tensors_.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    cursor.entry = i + 1;
    const std::uint64_t key_bytes = cursor.number("the key's length");
    if (key_bytes == 0 || key_bytes > max_key_bytes)
      cursor.fail(fmt::format("a key of {} bytes; not a .dat file?", key_bytes));
    const auto key = cursor.take(key_bytes, "the key");
    io::TensorView tensor;
    tensor.name.assign(reinterpret_cast<const char*>(key.data()), key.size());
    if (printable(tensor.name) != tensor.name && key.size() < 200)
      cursor.fail(fmt::format("the key '{}' is no text", printable(tensor.name)));
    if (!keys.insert(tensor.name).second)
      cursor.fail(fmt::format("the key '{}' stands twice", printable(tensor.name)));
    const std::uint64_t id = cursor.number("the element type");
    const auto dtype = element_type(id);
    if (!dtype) cursor.fail(fmt::format("'{}' has the unknown element type {}", tensor.name, id));
    tensor.dtype = *dtype;
    const std::uint64_t dimensions = cursor.number("the number of dimensions");
    if (dimensions > max_dimensions)
      cursor.fail(
          fmt::format("'{}' has {} dimensions, more than {}", tensor.name, dimensions, max_dimensions));
    std::uint64_t size = io::dtype_size(*dtype);
    for (std::uint64_t d = 0; d < dimensions; ++d) {
      const std::uint64_t extent = cursor.number("a dimension");
      if (extent >> 62 != 0 || __builtin_mul_overflow(size, extent, &size))
        cursor.fail(fmt::format("'{}' is of an impossible size", tensor.name));
      tensor.shape.push_back(static_cast<std::int64_t>(extent));
    }
    tensor.bytes = cursor.take(size, fmt::format("'{}' {}", tensor.name, io::describe(*dtype, tensor.shape)));
    tensors_.push_back(std::move(tensor));
  }
  if (cursor.left() != 0)
    cursor.fail(
        fmt::format("{} bytes follow the last entry; not a .dat file, or a damaged one", cursor.left()));
}

std::string DatFile::identity() const {
  Sha256 hash;
  hash.update(fmt::format("{};", file_.bytes().size()));
  for (const io::TensorView& tensor : tensors_) {
    hash.update(tensor.name).update(io::describe(tensor.dtype, tensor.shape));
    const std::size_t part = std::min<std::size_t>(64, tensor.bytes.size());
    for (const std::size_t at :
         {std::size_t{0}, (tensor.bytes.size() - part) / 2, tensor.bytes.size() - part}) {
      hash.update(tensor.bytes.data() + at, part);
    }
  }
  return "sampled-sha256:" + hash.hex_digest();
}

}  // namespace tetrad::checkpoint
