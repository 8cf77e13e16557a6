#include "io/safetensors_writer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <limits>
#include <random>

#include "io/safetensors.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

namespace tetrad::io {
namespace {

using test::error_text;
using test::TempDir;
using testing::HasSubstr;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(SafetensorsWriter, random_files_come_back) {
  std::mt19937 random(11);
  for (int round = 0; round < 50; ++round) {
    TempDir dir;
    std::vector<TensorData> tensors;
    std::vector<std::string> contents;
    const std::size_t count = random() % 12;
    for (std::size_t i = 0; i < count; ++i) {
      TensorSpec spec{fmt::format("t\u00e9nsor \"{}\"\n", i), static_cast<DType>(random() % 16), {}};
      std::size_t bytes = dtype_size(spec.dtype);
      for (std::size_t r = random() % 4; r > 0; --r) {
        spec.shape.push_back(random() % 6);
        bytes *= static_cast<std::size_t>(spec.shape.back());
      }
      std::string content(bytes, '\0');
      for (char& c : content) c = static_cast<char>(random() % 256);
      contents.push_back(std::move(content));
      tensors.push_back({spec, {}});
    }
    for (std::size_t i = 0; i < count; ++i) tensors[i].bytes = bytes_of(contents[i]);
    std::map<std::string, std::string> metadata;
    if (round % 2) metadata = {{"format", "pt"}, {"note", "\u4f60\u597d \"x\""}};
    write_safetensors(dir / "m.safetensors", tensors, metadata);

    const auto file = SafetensorsFile::open(dir / "m.safetensors");
    EXPECT_EQ(file.metadata(), metadata);
    EXPECT_EQ(file.header().size() % 8, 0u);
    ASSERT_EQ(file.tensors().size(), count);
    for (const TensorData& tensor : tensors) {
      const TensorView& read = file.at(tensor.spec.name);
      EXPECT_EQ(read.dtype, tensor.spec.dtype);
      EXPECT_EQ(read.shape, tensor.spec.shape);
      EXPECT_TRUE(std::equal(read.bytes.begin(), read.bytes.end(), tensor.bytes.begin(), tensor.bytes.end()));
      const auto offset = static_cast<std::size_t>(read.bytes.data() - file.header().data());
      EXPECT_EQ(offset % dtype_size(read.dtype), 0u) << "unaligned " << read.name;
    }
  }
}

TEST(SafetensorsWriter, takes_pieces_in_any_order) {
  TempDir dir;
  SafetensorsWriter writer(dir / "m.safetensors", {{"a", DType::u8, {4}}, {"b", DType::u16, {3}}});
  writer.append("a", bytes_of("ab"));
  writer.append("b", bytes_of("uvwxyz"));
  writer.append("a", bytes_of(""));
  writer.append("a", bytes_of("cd"));
  EXPECT_FALSE(std::filesystem::exists(dir / "m.safetensors"));
  writer.finish();
  EXPECT_EQ(std::filesystem::file_size(dir / "m.safetensors"), writer.file_bytes());
  const auto file = SafetensorsFile::open(dir / "m.safetensors");
  EXPECT_TRUE(std::ranges::equal(file.at("a").bytes, bytes_of("abcd")));
  EXPECT_TRUE(std::ranges::equal(file.at("b").bytes, bytes_of("uvwxyz")));
}

TEST(SafetensorsWriter, refuses_what_is_not_whole) {
  TempDir dir;
  const auto target = dir.write("m.safetensors", "old");
  {
    SafetensorsWriter writer(target, {{"a", DType::u8, {4}}, {"b", DType::u8, {2}}});
    writer.append("a", bytes_of("abc"));
    EXPECT_THAT(error_text([&] { writer.append("a", bytes_of("de")); }),
                HasSubstr("'a' has room for 4 bytes, got 2 after 3"));
    EXPECT_THAT(error_text([&] { writer.append("c", bytes_of("x")); }), HasSubstr("'c' was not declared"));
    EXPECT_THAT(error_text([&] { writer.finish(); }),
                HasSubstr("incomplete: 'a' (3 of 4 bytes), 'b' (0 of 2 bytes)"));
  }
  EXPECT_EQ(test::read_all(target), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(SafetensorsWriter, refuses_bad_declarations) {
  TempDir dir;
  const auto refusal = [&](std::vector<TensorSpec> specs, std::map<std::string, std::string> metadata = {}) {
    return error_text([&] { SafetensorsWriter(dir / "m", std::move(specs), metadata); });
  };
  EXPECT_THAT(refusal({{"a", DType::u8, {1}}, {"a", DType::u8, {2}}}),
              HasSubstr("tensor name 'a' is used twice"));
  EXPECT_THAT(refusal({{"__metadata__", DType::u8, {1}}}), HasSubstr("is reserved"));
  EXPECT_THAT(refusal({{"a", DType::u8, {-1}}}), HasSubstr("U8 [-1] is not a size"));
  EXPECT_THAT(refusal({{"a", DType::f64, {std::numeric_limits<std::int64_t>::max()}}}),
              HasSubstr("is not a size"));
  EXPECT_THAT(refusal({{"a\xff", DType::u8, {1}}}), HasSubstr("not valid UTF-8"));
  EXPECT_THAT(refusal({}, {{"k", "\xff"}}), HasSubstr("not valid UTF-8"));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace tetrad::io
