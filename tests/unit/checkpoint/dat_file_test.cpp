#include "checkpoint/dat_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "support/error_text.h"
#include "support/temp_dir.h"
#include "unit/checkpoint/sample.h"

namespace tetrad::checkpoint {
namespace {

using test::dat_bytes;
using test::DatEntry;
using test::error_text;
using test::leb128;
using test::TempDir;
using testing::HasSubstr;

std::string open_text(const std::string& bytes) {
  TempDir dir;
  test::write_text(dir / "w.dat", bytes);
  return error_text([&] { DatFile::open(dir / "w.dat"); });
}

TEST(DatFile, every_element_type) {
  TempDir dir;
  const std::vector<std::pair<std::uint64_t, std::size_t>> sizes = {
      {0, 1}, {1, 1}, {11, 1}, {100, 1}, {101, 1}, {2, 2}, {5, 2}, {15, 2}, {3, 4}, {6, 4}, {4, 8}, {7, 8}};
  std::vector<DatEntry> entries;
  for (const auto& [id, size] : sizes)
    entries.push_back({"t" + std::to_string(id), id, {3}, std::string(3 * size, static_cast<char>(id))});
  entries.push_back({"scalar", 6, {}, std::string(4, 'x')});
  entries.push_back({"empty", 6, {0, 300}, ""});
  test::write_text(dir / "w.dat", dat_bytes(entries));
  const auto file = DatFile::open(dir / "w.dat");
  ASSERT_EQ(file.tensors().size(), entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const io::TensorView& tensor = file.tensors()[i];
    EXPECT_EQ(tensor.name, entries[i].key);
    EXPECT_EQ(tensor.shape, std::vector<std::int64_t>(entries[i].shape.begin(), entries[i].shape.end()));
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()),
              entries[i].bytes);
  }
  EXPECT_EQ(file.tensors()[4].dtype, io::DType::f8_e4m3);
}

TEST(DatFile, cut_off_at_every_byte) {
  auto entries = test::sample_dat();
  entries.erase(entries.begin() + 1, entries.end() - 2);
  const std::string whole = dat_bytes(entries);
  ASSERT_LT(whole.size(), 2000u);
  TempDir dir;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    test::write_text(dir / "w.dat", whole.substr(0, size));
    const std::string text = error_text([&] { DatFile::open(dir / "w.dat"); });
    ASSERT_THAT(text, HasSubstr("[dat]")) << size;
  }
  test::write_text(dir / "w.dat", whole);
  EXPECT_EQ(DatFile::open(dir / "w.dat").tensors().size(), entries.size());
}

TEST(DatFile, hostile_headers) {
  const DatEntry good{"a", 0, {2}, "xy"};
  EXPECT_THAT(open_text(dat_bytes({good}) + "z"), HasSubstr("1 bytes follow the last entry"));
  EXPECT_THAT(open_text(dat_bytes({good, good})), HasSubstr("'a' stands twice"));
  EXPECT_THAT(open_text(dat_bytes({{"a", 9, {2}, "xy"}})), HasSubstr("unknown element type 9"));
  EXPECT_THAT(open_text(dat_bytes({{"a", 0, {3}, "xy"}})), HasSubstr("needs 3 bytes, 2 are left"));
  EXPECT_THAT(open_text(dat_bytes({{"a", 7, {1ULL << 40, 1ULL << 40}, "xy"}})), HasSubstr("impossible size"));
  EXPECT_THAT(open_text(dat_bytes({{"a", 0, {1ULL << 63}, "xy"}})), HasSubstr("impossible size"));
  EXPECT_THAT(open_text(dat_bytes({{"a", 0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, "x"}})), HasSubstr("9 dimensions"));
  EXPECT_THAT(open_text(dat_bytes({{std::string(5000, 'k'), 0, {1}, "x"}})),
              HasSubstr("a key of 5000 bytes"));
  EXPECT_THAT(open_text(dat_bytes({{"", 0, {1}, "x"}})), HasSubstr("a key of 0 bytes"));
  EXPECT_THAT(open_text(dat_bytes({{"a\n", 0, {1}, "x"}})), HasSubstr("is no text"));
  EXPECT_THAT(open_text(leb128(0)), HasSubstr("no entries"));
  EXPECT_THAT(open_text(leb128(1ULL << 40) + "abcdefgh"), HasSubstr("entries cannot lie in"));
  EXPECT_THAT(open_text(std::string(10, '\xFF')), HasSubstr("is no 64-bit number"));
  EXPECT_THAT(open_text(std::string(9, '\xFF') + "\x02"), HasSubstr("is no 64-bit number"));
}

TEST(DatFile, as_a_checkpoint) {
  TempDir dir;
  auto entries = test::sample_dat();
  test::write_text(dir / "w.dat", dat_bytes(entries));
  const auto checkpoint = Checkpoint::open(dir / "w.dat");
  EXPECT_EQ(checkpoint.layout(), Layout::dat);
  const Tensor* q = checkpoint.find("model.layers.0.self_attn.q_proj.weight");
  ASSERT_NE(q, nullptr);
  ASSERT_TRUE(q->planes);
  EXPECT_EQ(q->planes->global.factor(), 1.0F);
  EXPECT_EQ(q->shape, (std::vector<std::int64_t>{32, 32}));
  // Its head is its own, whatever config.json says.
  test::write_text(dir / "config.json", test::sample_config().dump());
  auto config = model::ModelConfig::load(dir.path());
  config.tie_word_embeddings = true;
  EXPECT_THAT(error_text([&] { checkpoint.check_names(config); }), HasSubstr("one of them is quantised"));
  checkpoint.adapt(config);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_TRUE(checkpoint.check_names(config).ignored.empty());
  EXPECT_THAT(checkpoint.identity(), HasSubstr("sampled-sha256:"));

  for (DatEntry& entry : entries) {
    if (entry.key.ends_with("q_proj.weight.scale"))
      entry.key = "model.layers.0.self_attn.x_proj.weight.scale";
  }
  test::write_text(dir / "w.dat", dat_bytes(entries));
  const std::string text = error_text([&] { Checkpoint::open(dir / "w.dat"); });
  EXPECT_THAT(text, HasSubstr("'model.layers.0.self_attn.q_proj.weight' has no block scales"));
  EXPECT_THAT(text, HasSubstr("x_proj.weight.scale' without codes"));
}

}  // namespace
}  // namespace tetrad::checkpoint
