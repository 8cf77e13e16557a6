#include "io/weight_files.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/safetensors_writer.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

namespace tetrad::io {
namespace {

namespace fs = std::filesystem;
using test::error_text;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* index_file = "model.safetensors.index.json";

void write_shard(const fs::path& file, const std::vector<std::string>& names,
                 std::string_view content = "abcdefgh") {
  std::vector<TensorData> tensors;
  for (const std::string& name : names) {
    tensors.push_back({{name, DType::u8, {static_cast<std::int64_t>(content.size())}},
                       std::as_bytes(std::span(content.data(), content.size()))});
  }
  fs::create_directories(file.parent_path());
  write_safetensors(file, tensors);
}

void write_index(const TempDir& dir, const std::map<std::string, std::string>& weight_map) {
  dir.write(index_file, nlohmann::json{{"metadata", {{"total_size", 1}}}, {"weight_map", weight_map}}.dump());
}

std::string refusal(const TempDir& dir) {
  return error_text([&] { WeightFiles::open(dir.path()); });
}

TEST(WeightFiles, one_file_or_its_directory) {
  TempDir dir;
  write_shard(dir / "model.safetensors", {"a", "b"});
  const auto weights = WeightFiles::open(dir.path());
  EXPECT_EQ(weights.tensors().size(), 2u);
  EXPECT_EQ(weights.tensor_bytes(), 16u);
  EXPECT_EQ(weights.at("b").bytes.size(), 8u);
  EXPECT_EQ(weights.find("c"), nullptr);
  EXPECT_THAT(error_text([&] { weights.at("c"); }), HasSubstr("no tensor 'c' among the 2 of 1 file(s)"));
  EXPECT_EQ(WeightFiles::open(dir / "model.safetensors").identity(), weights.identity());
}

TEST(WeightFiles, shards) {
  TempDir dir;
  write_shard(dir / "m-1.safetensors", {"a", "c"});
  write_shard(dir / "m-2.safetensors", {"b"});
  write_index(dir, {{"a", "m-1.safetensors"}, {"b", "m-2.safetensors"}, {"c", "m-1.safetensors"}});
  auto opened = WeightFiles::open(dir.path());
  const auto weights = std::move(opened);
  ASSERT_EQ(weights.tensors().size(), 3u);
  EXPECT_EQ(weights.tensors()[1]->name, "c");  // file order, not name order
  EXPECT_EQ(weights.file_of("b").filename(), "m-2.safetensors");
  for (const TensorView* tensor : weights.tensors()) {
    weights.prefetch(*tensor);
    weights.release(*tensor);
    EXPECT_EQ(static_cast<char>(tensor->bytes[7]), 'h');
  }
}

TEST(WeightFiles, index_and_shards_must_agree) {
  TempDir dir;
  write_shard(dir / "m-1.safetensors", {"a", "extra"});
  write_shard(dir / "m-2.safetensors", {"a", "b"});
  write_index(dir, {{"a", "m-1.safetensors"}, {"b", "m-2.safetensors"}, {"gone", "m-2.safetensors"}});
  EXPECT_THAT(
      refusal(dir),
      AllOf(HasSubstr("1 listed but not in their file: 'gone' (m-2.safetensors)"),
            HasSubstr("1 in a file but not listed: 'extra' (m-1.safetensors)"),
            HasSubstr("1 in another file than listed: 'a' (m-2.safetensors, listed for m-1.safetensors)")));
}

TEST(WeightFiles, long_lists_are_shortened) {
  TempDir dir;
  write_shard(dir / "m.safetensors", {"a"});
  std::map<std::string, std::string> weight_map{{"a", "m.safetensors"}};
  for (int i = 0; i < 100; ++i) weight_map[fmt::format("layer{:03}", i)] = "m.safetensors";
  write_index(dir, weight_map);
  EXPECT_THAT(refusal(dir), AllOf(HasSubstr("100 listed but not in their file"), HasSubstr("and 92 more"),
                                  Not(HasSubstr("layer050"))));
}

TEST(WeightFiles, missing_shard) {
  TempDir dir;
  write_index(dir, {{"a", "m-1.safetensors"}});
  EXPECT_THAT(refusal(dir),
              HasSubstr("'m-1.safetensors' is refused: No such file or directory; fetch the model again"));
}

TEST(WeightFiles, paths_do_not_escape) {
  TempDir outside;
  write_shard(outside / "m.safetensors", {"a"});
  for (const std::string& name :
       {(outside / "m.safetensors").string(), "../" + outside.path().filename().string() + "/m.safetensors",
        std::string("x/../m.safetensors"), std::string(), std::string("m.bin"),
        std::string("m\0.safetensors", 14), std::string(".."), std::string("/")}) {
    TempDir dir;
    write_shard(dir / "m.safetensors", {"a"});
    fs::create_directory(dir / "x");
    write_index(dir, {{"a", name}});
    EXPECT_THAT(refusal(dir), HasSubstr("is refused")) << name;
  }
}

TEST(WeightFiles, links_do_not_escape) {
  TempDir outside;
  write_shard(outside / "m.safetensors", {"a"});
  {
    TempDir dir;
    fs::create_symlink(outside / "m.safetensors", dir / "model.safetensors");
    EXPECT_THAT(refusal(dir), HasSubstr("outside the model directory"));
  }
  {
    TempDir dir;
    fs::create_directory_symlink(outside.path(), dir / "sub");
    write_index(dir, {{"a", "sub/m.safetensors"}});
    EXPECT_THAT(refusal(dir), HasSubstr("outside the model directory"));
  }
  {
    TempDir dir;  // inside is fine
    write_shard(dir / "real.safetensors", {"a"});
    fs::create_symlink("real.safetensors", dir / "model.safetensors");
    EXPECT_EQ(WeightFiles::open(dir.path()).tensors().size(), 1u);
    fs::create_directory_symlink(dir.path(), outside / "link");  // and so is a linked model directory
    EXPECT_EQ(WeightFiles::open(outside / "link").tensors().size(), 1u);
  }
}

TEST(WeightFiles, the_blobs_of_a_hugging_face_cache) {
  TempDir dir;
  const auto repo = dir / "models--org--name";
  const auto snapshot = repo / "snapshots" / "abc";
  fs::create_directories(snapshot);
  write_shard(repo / "blobs" / "0123", {"a"});
  fs::create_symlink("../../blobs/0123", snapshot / "model.safetensors");
  EXPECT_EQ(WeightFiles::open(snapshot).tensors().size(), 1u);
  fs::remove(snapshot / "model.safetensors");
  write_shard(dir / "blobs" / "0123", {"a"});
  fs::create_symlink("../../../blobs/0123", snapshot / "model.safetensors");
  EXPECT_THAT(error_text([&] { WeightFiles::open(snapshot); }), HasSubstr("outside the model directory"));
}

TEST(WeightFiles, broken_indexes) {
  const auto broken = [](std::string_view text) {
    TempDir dir;
    dir.write(index_file, text);
    return refusal(dir);
  };
  EXPECT_THAT(broken("{"), HasSubstr("index.json: line 1, column"));
  EXPECT_THAT(broken("[]"), HasSubstr("not an object but array"));
  EXPECT_THAT(broken("{}"), HasSubstr("'weight_map' is missing"));
  EXPECT_THAT(broken(R"({"weight_map":[]})"), HasSubstr("'weight_map' is not an object but array"));
  EXPECT_THAT(broken(R"({"weight_map":{}})"), HasSubstr("'weight_map' is empty"));
  EXPECT_THAT(broken(R"({"weight_map":{"a":1}})"), HasSubstr("no file name for 'a' but number"));
  EXPECT_THAT(broken(R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})"),
              HasSubstr("duplicate key 'a'"));
}

TEST(WeightFiles, says_what_is_wrong_with_a_directory) {
  TempDir dir;
  EXPECT_THAT(refusal(dir), HasSubstr("no model.safetensors and no model.safetensors.index.json"));
  dir.write("pytorch_model.bin", "x");
  EXPECT_THAT(refusal(dir), HasSubstr("'pytorch_model.bin' is of another format"));
  write_shard(dir / "model.safetensors", {"a"});
  EXPECT_EQ(refusal(dir), "no error");
  write_index(dir, {{"a", "model.safetensors"}});
  EXPECT_THAT(refusal(dir), HasSubstr("holds both"));
  EXPECT_THAT(error_text([&] { WeightFiles::open(dir / "none"); }), HasSubstr("no such file or directory"));
  write_shard(dir / "sub" / "model.safetensors", {});
  EXPECT_THAT(error_text([&] { WeightFiles::open(dir / "sub"); }), HasSubstr("holds no tensors"));
}

TEST(WeightFiles, identity_follows_the_content) {
  TempDir dir;
  std::string content(100'000, 'x');
  const auto ids = [&](const char* name) {
    write_shard(dir / "model.safetensors", {name}, content);
    const auto weights = WeightFiles::open(dir.path());
    return std::pair(weights.identity(), weights.content_sha256());
  };
  const auto first = ids("a");
  EXPECT_EQ(ids("a"), first);
  EXPECT_THAT(first.first, testing::MatchesRegex("sampled-sha256:[0-9a-f]+"));
  EXPECT_THAT(first.second, testing::MatchesRegex("sha256:[0-9a-f]+"));
  EXPECT_NE(ids("b").first, first.first);
  for (const std::size_t at : {std::size_t{0}, content.size() / 2, content.size() - 1}) {
    content[at] = 'y';
    const auto changed = ids("a");
    EXPECT_NE(changed.first, first.first) << at;
    EXPECT_NE(changed.second, first.second) << at;
    content[at] = 'x';
  }
  content[1000] = 'y';  // between the samples: only the full hash sees it
  EXPECT_EQ(ids("a").first, first.first);
  EXPECT_NE(ids("a").second, first.second);
}

}  // namespace
}  // namespace tetrad::io
