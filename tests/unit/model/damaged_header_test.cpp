// A weight file with one flipped bit in its header, every one of them: refused when the file is opened or
// when its tensors are compared with config.json, or loaded with the same names, types, shapes and bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "io/weight_files.h"
#include "model/names.h"
#include "support/error_text.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"

namespace tetrad::model {
namespace {

struct Stored {
  std::string name;
  io::DType dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;
  bool operator==(const Stored&) const = default;
};

std::vector<Stored> contents(const io::WeightFiles& files) {
  std::vector<Stored> all;
  for (const io::TensorView* tensor : files.tensors())
    all.push_back({tensor->name, tensor->dtype, tensor->shape, {tensor->bytes.begin(), tensor->bytes.end()}});
  return all;
}

TEST(DamagedHeader, EveryFlippedBitIsRefusedOrHarmless) {
  nlohmann::json json = test::tiny_config();
  json.update({{"vocab_size", 8},
               {"hidden_size", 4},
               {"intermediate_size", 6},
               {"num_hidden_layers", 1},
               {"num_attention_heads", 2},
               {"num_key_value_heads", 1},
               {"head_dim", 2},
               {"bos_token_id", 1},
               {"eos_token_id", 2}});
  const ModelConfig config = ModelConfig::parse(json, "config.json");
  const test::TempDir dir;
  const auto file = dir / "model.safetensors";
  test::write_weights(file, test::tiny_weights(json), io::DType::bf16);
  const auto good_files = io::WeightFiles::open(file);
  check_names(good_files, config);
  const std::vector<Stored> good = contents(good_files);
  const std::size_t header = good_files.shards().front().header().size();

  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  std::string bytes(header, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(header));
  std::size_t refused = 0, harmless = 0;
  for (std::size_t at = 0; at < header; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      const auto put = [&](char byte) {
        stream.seekp(static_cast<std::streamoff>(at));
        stream.put(byte).flush();
      };
      put(static_cast<char>(bytes[at] ^ (1 << bit)));
      try {
        const auto files = io::WeightFiles::open(file);
        check_names(files, config);
        ASSERT_EQ(contents(files), good) << "byte " << at << ", bit " << bit << " of " << bytes;
        ++harmless;
      } catch (const Error&) {
        ++refused;
      }
      put(bytes[at]);
    }
  }
  EXPECT_EQ(refused + harmless, header * 8);
  EXPECT_GT(refused, harmless) << "hardly any bit of a header is free";
  RecordProperty("refused", static_cast<int>(refused));
  RecordProperty("harmless", static_cast<int>(harmless));
}

// Cut anywhere, header or data.
TEST(DamagedHeader, EveryTruncationIsRefused) {
  const test::TempDir dir;
  const auto file = dir / "model.safetensors";
  test::write_weights(file, {{"a", {{3}, {1, 2, 3}}}, {"b", {{0, 2}, {}}}, {"c", {{1}, {4}}}});
  for (auto size = std::filesystem::file_size(file); size > 0;) {
    std::filesystem::resize_file(file, --size);
    EXPECT_THAT(test::error_text([&] { io::WeightFiles::open(file); }), testing::HasSubstr("[safetensors]"))
        << size;
  }
}

}  // namespace
}  // namespace tetrad::model
