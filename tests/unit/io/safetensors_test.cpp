#include "io/safetensors.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <random>

#include "io/memory.h"
#include "safetensors_bytes.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

namespace tetrad::io {
namespace {

using test::error_text;
using test::safetensors_bytes;
using test::TempDir;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

constexpr const char* good_header =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
    R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"s":{"dtype":"U8","shape":[],"data_offsets":[20,21]},)"
    R"("none":{"dtype":"F64","shape":[0,7],"data_offsets":[8,8]}}   )";
const std::string good_data = "abcdefghijklmnopqrstu";

// The error of a file with this header and data, without the path in front.
std::string refusal(std::string_view header, std::string_view data) {
  TempDir dir;
  const auto file = dir.write("m.safetensors", safetensors_bytes(header, data));
  std::string text = error_text([&] { SafetensorsFile::open(file); });
  if (const auto at = text.find(file.string()); at != text.npos) text.erase(at, file.string().size());
  return text;
}

std::string one_tensor(std::string_view entry, std::string_view data = "12345678") {
  return refusal(fmt::format(R"({{"t":{}}})", entry), data);
}

TEST(Safetensors, reads_tensors_in_file_order) {
  TempDir dir;
  const auto file =
      SafetensorsFile::open(dir.write("m.safetensors", safetensors_bytes(good_header, good_data)));
  ASSERT_EQ(file.tensors().size(), 4u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[3].name, "s");
  const TensorView& b = file.at("b");
  EXPECT_EQ(b.dtype, DType::bf16);
  EXPECT_THAT(b.shape, ElementsAre(2, 3));
  EXPECT_EQ(b.elements(), 6);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(b.bytes.data()), b.bytes.size()), "ijklmnopqrst");
  EXPECT_EQ(file.at("s").elements(), 1);
  EXPECT_TRUE(file.at("none").bytes.empty());
  EXPECT_THAT(file.metadata(), ElementsAre(Pair("format", "pt")));
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_THAT(error_text([&] { file.at("c"); }), HasSubstr("no tensor 'c' among its 4"));
}

TEST(Safetensors, keeps_views_when_moved) {
  TempDir dir;
  auto first = SafetensorsFile::open(dir.write("m.safetensors", safetensors_bytes(good_header, good_data)));
  const SafetensorsFile second = std::move(first);
  EXPECT_EQ(second.at("a").bytes.size(), 8u);
  EXPECT_EQ(static_cast<char>(second.at("a").bytes[1]), 'b');
}

TEST(Safetensors, accepts_a_file_without_tensors) {
  TempDir dir;
  EXPECT_TRUE(
      SafetensorsFile::open(dir.write("m.safetensors", safetensors_bytes("{}", ""))).tensors().empty());
}

TEST(Safetensors, refuses_every_truncation) {
  TempDir dir;
  const std::string whole = safetensors_bytes(good_header, good_data);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const auto file = dir.write("m.safetensors", std::string_view(whole).substr(0, n));
    EXPECT_THAT(error_text([&] { SafetensorsFile::open(file); }), HasSubstr("[safetensors]"))
        << "cut to " << n;
  }
}

TEST(Safetensors, refuses_trailing_bytes) {
  EXPECT_EQ(refusal(good_header, good_data + "x"),
            "[safetensors] : 1 bytes follow the last tensor; the file is damaged");
  EXPECT_EQ(refusal("{}", "xy"), "[safetensors] : 2 bytes follow the last tensor; the file is damaged");
}

TEST(Safetensors, refuses_bad_header_lengths) {
  TempDir dir;
  const auto open = [&](std::uint64_t length) {
    const auto file = dir.write("m.safetensors", test::length_prefix(length) + "{}");
    return error_text([&] { SafetensorsFile::open(file); });
  };
  EXPECT_THAT(open(3), HasSubstr("the header should be 3 bytes, but only 2 follow"));
  EXPECT_THAT(open(100'000'000), HasSubstr("the header should be 100000000 bytes, but only 2 follow"));
  EXPECT_THAT(open(100'000'001), HasSubstr("more than the 100000000 that the format allows"));
  EXPECT_THAT(open(~std::uint64_t{0}), HasSubstr("more than the 100000000"));
  EXPECT_THAT(open(~std::uint64_t{0} - 7), HasSubstr("more than the 100000000"));
  EXPECT_THAT(open(0), HasSubstr("does not begin with '{'"));
  EXPECT_EQ(open(2), "no error");
}

TEST(Safetensors, refuses_headers_that_are_not_json) {
  EXPECT_THAT(refusal("[1]", ""), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(refusal(" {}", ""), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(refusal(R"({"a":)", ""), HasSubstr("(header): line 1, column"));
  EXPECT_THAT(refusal("{}x", ""), HasSubstr("(header): line 1, column 3"));
  EXPECT_THAT(refusal(std::string("{}\0", 3), ""), HasSubstr("(header): a NUL byte at offset 2"));
  EXPECT_THAT(refusal("{\"\xff\":1}", ""), HasSubstr("(header): line 1, column"));
  std::string deep = R"({"t":)";
  for (int i = 0; i < 100000; ++i) deep += '[';
  EXPECT_THAT(refusal(deep, ""), HasSubstr("nested deeper than 8 levels"));
}

TEST(Safetensors, refuses_duplicate_names) {
  EXPECT_THAT(
      refusal(
          R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          "xy"),
      HasSubstr("duplicate key 't'"));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8]})"),
              HasSubstr("duplicate key 'dtype'"));
}

TEST(Safetensors, refuses_mistyped_entries) {
  EXPECT_THAT(one_tensor("7"), HasSubstr("'t': the header entry is not an object but number"));
  EXPECT_THAT(one_tensor(R"({"shape":[8],"data_offsets":[0,8]})"), HasSubstr("'t': 'dtype' is missing"));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","data_offsets":[0,8]})"), HasSubstr("'shape' is missing"));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","shape":[8]})"), HasSubstr("'data_offsets' is missing"));
  EXPECT_THAT(one_tensor(R"({"dtype":8,"shape":[8],"data_offsets":[0,8]})"),
              HasSubstr("'dtype' is not a string but number"));
  EXPECT_THAT(one_tensor(R"({"dtype":"F7","shape":[8],"data_offsets":[0,8]})"),
              HasSubstr("unknown dtype \"F7\""));
  EXPECT_THAT(one_tensor(R"({"dtype":"bf16","shape":[4],"data_offsets":[0,8]})"),
              HasSubstr("unknown dtype \"bf16\""));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","shape":8,"data_offsets":[0,8]})"),
              HasSubstr("'shape' is not a list but number"));
  for (const char* bad :
       {"-8", "8.0", "\"8\"", "null", "true", "18446744073709551615", "9223372036854775808", "[8]"}) {
    EXPECT_THAT(one_tensor(fmt::format(R"({{"dtype":"U8","shape":[{}],"data_offsets":[0,8]}})", bad)),
                HasSubstr(fmt::format("'shape' holds {}, which is not a whole number", bad)));
  }
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","shape":[8],"data_offsets":[8]})"),
              HasSubstr("'data_offsets' has 1 numbers instead of 2"));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8,9]})"), HasSubstr("at most 2"));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","shape":[8],"data_offsets":[0,-8]})"),
              HasSubstr("'data_offsets' holds -8"));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8],"x":1})"),
              HasSubstr("unknown field 'x'"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":1}})", ""),
              HasSubstr("__metadata__ 'a' is not a string but number"));
  EXPECT_THAT(refusal(R"({"__metadata__":[]})", ""), HasSubstr("__metadata__ is not an object but array"));
}

TEST(Safetensors, refuses_wrong_sizes_and_places) {
  EXPECT_THAT(one_tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})"),
              HasSubstr("F32 [1] needs 4 bytes, data_offsets [0, 8] give 8"));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","shape":[8],"data_offsets":[8,0]})"),
              HasSubstr("end before they begin"));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","shape":[9],"data_offsets":[0,9]})"),
              HasSubstr("ends at byte 9 of the data, which has only 8; the file is cut short"));
  EXPECT_THAT(one_tensor(R"({"dtype":"U8","shape":[7],"data_offsets":[1,8]})"),
              HasSubstr("a gap of 1 bytes before tensor 't': the data begins at byte 0"));
  EXPECT_THAT(one_tensor(R"({"dtype":"F64","shape":[4294967296,4294967296],"data_offsets":[0,8]})"),
              HasSubstr("does not fit 64 bits"));
  EXPECT_THAT(one_tensor(R"({"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]})"),
              HasSubstr("does not fit 64 bits"));
  EXPECT_THAT(
      one_tensor(R"({"dtype":"U8","shape":[9223372036854775807],"data_offsets":[0,9223372036854775807]})"),
      HasSubstr("which has only 8"));
  EXPECT_THAT(
      refusal(
          R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
          "12345678"),
      HasSubstr("tensor 'b' overlaps: it begins at byte 4, but tensor 'a' ends at 5"));
  EXPECT_THAT(
      refusal(
          R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
          "12345678"),
      HasSubstr("a gap of 1 bytes before tensor 'b': tensor 'a' ends at byte 3"));
  // two names for the same bytes are an overlap, too
  EXPECT_THAT(
      refusal(
          R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
          "12345678"),
      HasSubstr("overlaps"));
}

TEST(Safetensors, refuses_what_is_no_regular_file) {
  TempDir dir;
  EXPECT_THAT(error_text([&] { SafetensorsFile::open(dir.path()); }), HasSubstr("not a regular file"));
  EXPECT_THAT(error_text([&] { SafetensorsFile::open(dir / "none"); }),
              HasSubstr("cannot be opened: No such file"));
  EXPECT_THAT(error_text([&] { SafetensorsFile::open("/dev/zero"); }), HasSubstr("not a regular file"));
}

// Whatever bytes change, the answer is an error or a file whose tensors lie inside it.
TEST(Safetensors, survives_random_damage) {
  TempDir dir;
  const std::string whole = safetensors_bytes(good_header, good_data);
  std::mt19937 random(7);
  int accepted = 0;
  for (int round = 0; round < 600; ++round) {
    std::string damaged = whole;
    for (int i = 0, n = 1 + static_cast<int>(random() % 3); i < n; ++i) {
      damaged[random() % damaged.size()] =
          static_cast<char>(random() % 4 ? '0' + random() % 80 : random() % 256);
    }
    const auto path = dir.write("m.safetensors", damaged);
    try {
      const auto file = SafetensorsFile::open(path);
      std::uint64_t sum = 0;
      for (const TensorView& tensor : file.tensors()) {
        for (const std::byte b : tensor.bytes) sum += std::to_integer<unsigned>(b);
        ASSERT_EQ(tensor.bytes.size() % dtype_size(tensor.dtype), 0u);
      }
      EXPECT_GT(sum, 0u);
      ++accepted;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(accepted, 20);
  EXPECT_LT(accepted, 580);
}

TEST(Safetensors, release_keeps_the_contents_and_the_neighbours) {
  TempDir dir;
  const std::size_t n = 3 * 65536 + 17;
  std::string data;
  std::mt19937 random(1);
  for (std::size_t i = 0; i < 3 * n; ++i) data += static_cast<char>(random() % 256);
  const std::string header = fmt::format(
      R"({{"a":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}},"b":{{"dtype":"U8","shape":[{0}],"data_offsets":[{0},{1}]}},)"
      R"("c":{{"dtype":"U8","shape":[{0}],"data_offsets":[{1},{2}]}}}})",
      n, 2 * n, 3 * n);
  const auto file = SafetensorsFile::open(dir.write("m.safetensors", safetensors_bytes(header, data)));
  for (const PageCache cache : {PageCache::keep, PageCache::drop}) {
    for (const TensorView& tensor : file.tensors()) {
      file.prefetch(tensor);
      file.release(tensor, cache);
    }
    std::string again;
    for (const TensorView& tensor : file.tensors()) {
      again.append(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
    }
    EXPECT_EQ(again, data);
  }
}

// The pages of a released tensor leave this process. (On tmpfs mapped pages count as shared ones.)
TEST(Safetensors, release_gives_memory_back) {
  TempDir dir;
  constexpr std::size_t n = std::size_t{32} << 20;
  const std::string header =
      fmt::format(R"({{"a":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}})", n);
  const auto file =
      SafetensorsFile::open(dir.write("m.safetensors", safetensors_bytes(header, std::string(n, 'x'))));
  const auto mapped = [] {
    const auto memory = host_memory();
    return memory ? static_cast<double>(memory->rss_file + memory->rss_shmem) : -1.0;
  };
  const double before = mapped();
  std::uint64_t sum = 0;
  for (const std::byte b : file.at("a").bytes) sum += std::to_integer<unsigned>(b);
  EXPECT_EQ(sum, n * 'x');
  EXPECT_GT(mapped() - before, 0.9 * n);
  file.release(file.at("a"));
  EXPECT_LT(mapped() - before, 0.1 * n);
}

}  // namespace
}  // namespace tetrad::io
