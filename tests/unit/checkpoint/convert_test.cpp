#include "checkpoint/convert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/sha256.h>
#include <tetrad/nvfp4/packed_tensor.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "support/error_text.h"
#include "support/temp_dir.h"
#include "unit/checkpoint/sample.h"

namespace tetrad::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::error_text;
using test::read_text;
using test::Sample;
using test::TempDir;
using testing::HasSubstr;

const std::string q = "model.layers.0.self_attn.q_proj";

Conversion from_to(const fs::path& from, const fs::path& to, Layout layout) {
  Conversion conversion;
  conversion.from = from;
  conversion.to = to;
  conversion.layout = layout;
  return conversion;
}

std::string bytes_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// `exact`: the fp32 scales too. Where a layout multiplies and the other divides they may differ by an ulp.
void expect_same_planes(const Checkpoint& a, const Checkpoint& b, bool exact = true) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const Tensor& one : a.tensors()) {
    const Tensor* other = b.find(one.name);
    ASSERT_NE(other, nullptr) << one.name;
    EXPECT_EQ(one.shape, other->shape);
    ASSERT_EQ(one.planes.has_value(), other->planes.has_value()) << one.name;
    if (!one.planes) {
      EXPECT_EQ(bytes_of(one.bytes), bytes_of(other->bytes)) << one.name;
      continue;
    }
    EXPECT_EQ(bytes_of(one.planes->codes), bytes_of(other->planes->codes)) << one.name;
    EXPECT_EQ(bytes_of(one.planes->scales), bytes_of(other->planes->scales)) << one.name;
    EXPECT_EQ(bytes_of(one.planes->lo_codes), bytes_of(other->planes->lo_codes)) << one.name;
    if (exact) {
      EXPECT_EQ(one.planes->global.factor(), other->planes->global.factor()) << one.name;
    } else {
      EXPECT_FLOAT_EQ(one.planes->global.factor(), other->planes->global.factor()) << one.name;
    }
    EXPECT_EQ(one.planes->input.has_value(), other->planes->input.has_value());
  }
}

TEST(Convert, planes_pass_through_every_layout) {
  for (const bool activations : {false, true}) {
    for (const Layout first : {Layout::compressed_tensors, Layout::modelopt}) {
      TempDir dir;
      Sample sample(activations ? 3 : 4);
      first == Layout::modelopt ? sample.modelopt(activations) : sample.compressed_tensors(activations);
      sample.write(dir / "a");
      const auto original = Checkpoint::open(dir / "a");
      for (const Layout to : {Layout::compressed_tensors, Layout::modelopt, Layout::tetrad}) {
        const std::string name = layout_name(to);
        convert(from_to(dir / "a", dir / name, to));
        expect_same_planes(original, Checkpoint::open(dir / name), to == first || to == Layout::tetrad);
      }
      // Tetrad's layout keeps the scale's sense, so the way there and back gives the same file.
      convert(from_to(dir / "tetrad", dir / "back", first));
      const auto back = Checkpoint::open(dir / "back");
      expect_same_planes(original, back);
      for (const Tensor& tensor : original.tensors()) {
        if (!tensor.planes) continue;
        EXPECT_EQ(tensor.planes->global, back.find(tensor.name)->planes->global);
      }
      convert(from_to(dir / "a", dir / "same", first));
      EXPECT_EQ(read_text(dir / "back" / "model.safetensors"), read_text(dir / "same" / "model.safetensors"));
    }
  }
}

TEST(Convert, hi_and_lo_planes) {
  TempDir dir;
  Sample sample;
  sample.tetrad(true);
  sample.write(dir / "a");
  convert(from_to(dir / "a", dir / "b", Layout::tetrad));
  expect_same_planes(Checkpoint::open(dir / "a"), Checkpoint::open(dir / "b"));
  EXPECT_THAT(error_text([&] { convert(from_to(dir / "a", dir / "c", Layout::modelopt)); }),
              HasSubstr("two planes (hi+lo)"));
  convert(from_to(dir / "a", dir / "d", Layout::dense));
  const auto source = Checkpoint::open(dir / "a"), decoded = Checkpoint::open(dir / "d");
  const Tensor& planes = *source.find(q + ".weight");
  const Tensor& values = *decoded.find(q + ".weight");
  ASSERT_EQ(values.dtype, io::DType::bf16);
  const float table[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  for (std::size_t i = 0; i < 32 * 32; ++i) {
    const auto nibble = [&](std::span<const std::byte> codes) {
      const unsigned code = std::to_integer<unsigned>(codes[i / 2]) >> (i % 2 * 4) & 15;
      return (code & 8 ? -1.0 : 1.0) * static_cast<double>(table[code & 7]);
    };
    const unsigned scale = std::to_integer<unsigned>(planes.planes->scales[i / 16]);
    const double block = scale < 8 ? scale * std::ldexp(1.0, -9)
                                   : std::ldexp(1 + (scale & 7) / 8.0, static_cast<int>(scale >> 3) - 7);
    const double expected = (nibble(planes.planes->codes) + nibble(planes.planes->lo_codes) / 4) * block *
                            static_cast<double>(planes.planes->global.factor());
    std::uint16_t bits = 0;
    std::memcpy(&bits, values.bytes.data() + 2 * i, 2);
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    float got = 0;
    std::memcpy(&got, &wide, 4);
    EXPECT_LE(std::abs(static_cast<double>(got) - expected), std::abs(expected) * 0.00391) << i;
  }
}

TEST(Convert, encodes_as_the_codec_does) {
  TempDir dir;
  Sample sample;
  sample.all_dense();
  sample.write(dir / "a");
  for (const auto profile :
       {nvfp4::Profile::te, nvfp4::Profile::modelopt, nvfp4::Profile::compressed_tensors}) {
    for (const auto rule : {nvfp4::GlobalRule::power_of_two, nvfp4::GlobalRule::exact}) {
      Conversion conversion = from_to(dir / "a", dir / "b", Layout::tetrad);
      conversion.encoding.options.profile = profile;
      conversion.encoding.options.global = rule;
      fs::remove_all(dir / "b");
      const Converted done = convert(conversion);
      EXPECT_EQ(done.quantised, 8u) << "seven linears and the head";
      const auto written = Checkpoint::open(dir / "b");
      const auto& stored = sample.tensors.at(q + ".weight");
      std::vector<nvfp4::Bf16> values(32 * 32);
      std::memcpy(values.data(), stored.bytes.data(), stored.bytes.size());
      const auto expected = nvfp4::encode(values.data(), 32, 32, 32, conversion.encoding.options);
      const Planes& planes = *written.find(q + ".weight")->planes;
      EXPECT_EQ(bytes_of(planes.codes), bytes_of(std::as_bytes(std::span(expected.codes))));
      EXPECT_EQ(bytes_of(planes.scales), bytes_of(std::as_bytes(std::span(expected.scales))));
      EXPECT_EQ(planes.global.factor(), expected.global.decode);
    }
  }
}

TEST(Convert, fused_weights_share_their_scale) {
  TempDir dir;
  Sample sample;
  sample.all_dense();
  auto& k = sample.tensors[("model.layers.0.self_attn.k_proj.weight")].bytes;
  k[1] = 0x47;  // a large value
  sample.write(dir / "a");
  convert(from_to(dir / "a", dir / "ct", Layout::compressed_tensors));
  const auto ct = Checkpoint::open(dir / "ct");
  const auto global = [&](const Checkpoint& c, const char* part) {
    return c.find("model.layers.0." + std::string(part) + ".weight")->planes->global;
  };
  EXPECT_EQ(global(ct, "self_attn.q_proj"), global(ct, "self_attn.k_proj"));
  EXPECT_EQ(global(ct, "mlp.gate_proj"), global(ct, "mlp.up_proj"));
  EXPECT_FALSE(global(ct, "self_attn.o_proj") == global(ct, "self_attn.k_proj"));
  EXPECT_FALSE(ct.find("lm_head.weight")->planes);
  convert(from_to(dir / "a", dir / "t", Layout::tetrad));
  const auto own = Checkpoint::open(dir / "t");
  EXPECT_FALSE(global(own, "self_attn.q_proj") == global(own, "self_attn.k_proj"));
}

TEST(Convert, what_stays_dense) {
  TempDir dir;
  Sample sample;
  sample.all_dense();
  sample.write(dir / "a");
  Conversion conversion = from_to(dir / "a", dir / "b", Layout::modelopt);
  conversion.encoding.keep = {"*.o_proj", "model.layers.0.mlp"};
  EXPECT_EQ(convert(conversion).quantised, 3u);
  const auto kept = Checkpoint::open(dir / "b");
  EXPECT_FALSE(kept.find("model.layers.0.mlp.up_proj.weight")->planes);
  EXPECT_TRUE(kept.quantization().ignores("model.layers.0.self_attn.o_proj"));
  EXPECT_FALSE(kept.quantization().ignores(q));
  conversion.to = dir / "c";
  conversion.encoding.head = Choice::packed;
  convert(conversion);
  EXPECT_TRUE(Checkpoint::open(dir / "c").find("lm_head.weight")->planes);
  conversion.to = dir / "d";
  conversion.encoding.embedding = Choice::packed;
  EXPECT_THAT(error_text([&] { convert(conversion); }), HasSubstr("has no packed embeddings"));
}

TEST(Convert, shapes_that_do_not_fit) {
  TempDir dir;
  Sample sample;
  sample.config["intermediate_size"] = 40;
  sample.all_dense();
  for (const char* name : {"gate_proj", "up_proj"})
    sample.dense("model.layers.0.mlp." + std::string(name) + ".weight", {40, 32});
  sample.dense("model.layers.0.mlp.down_proj.weight", {32, 40});
  sample.write(dir / "a");
  Conversion conversion = from_to(dir / "a", dir / "b", Layout::tetrad);
  EXPECT_THAT(
      error_text([&] { convert(conversion); }),
      HasSubstr("rows of 40, no multiple of 16; keep it dense with --keep 'model.layers.0.mlp.down_proj'"));
  EXPECT_FALSE(fs::exists(dir / "b"));
  conversion.encoding.keep = {"*.down_proj"};
  EXPECT_EQ(convert(conversion).quantised, 7u);
}

TEST(Convert, dat_to_a_model_directory) {
  TempDir dir;
  test::write_text(dir / "w.dat", test::dat_bytes(test::sample_dat()));
  auto config = test::sample_config();
  config["tie_word_embeddings"] = true;
  fs::create_directories(dir / "c");
  test::write_text(dir / "c" / "config.json", config.dump());
  test::write_text(dir / "c" / "tokenizer.json", "{}");
  Conversion conversion = from_to(dir / "w.dat", dir / "b", Layout::compressed_tensors);
  EXPECT_THAT(error_text([&] { convert(conversion); }), HasSubstr("--config-from"));
  conversion.config_from = dir / "c";
  convert(conversion);
  EXPECT_EQ(read_text(dir / "b" / "tokenizer.json"), "{}");
  const auto written_config = nlohmann::json::parse(read_text(dir / "b" / "config.json"));
  EXPECT_EQ(written_config["tie_word_embeddings"], false);
  EXPECT_EQ(written_config["quantization_config"]["ignore"], nlohmann::json::array()) << "the head is packed";
  expect_same_planes(Checkpoint::open(dir / "w.dat"), Checkpoint::open(dir / "b"));
}

TEST(Convert, shards_and_manifest) {
  TempDir dir;
  Sample sample;
  sample.all_dense();
  sample.write(dir / "a");
  Conversion conversion = from_to(dir / "a", dir / "b", Layout::dense);
  conversion.max_shard_bytes = 4000;
  const Converted done = convert(conversion);
  ASSERT_GT(done.files.size(), 2u);
  expect_same_planes(Checkpoint::open(dir / "a"), Checkpoint::open(dir / "b"));
  const auto manifest = nlohmann::json::parse(read_text(dir / "b" / manifest_name));
  for (const WrittenFile& file : done.files) {
    const std::string bytes = read_text(dir / "b" / file.name);
    EXPECT_EQ(file.sha256, sha256_hex(bytes));
    EXPECT_EQ(manifest["files"][file.name]["sha256"], file.sha256);
    EXPECT_EQ(manifest["files"][file.name]["bytes"], bytes.size());
  }
}

TEST(Convert, a_stop_leaves_nothing) {
  TempDir dir;
  Sample sample;
  sample.all_dense();
  sample.write(dir / "a");
  for (const char* when : {"write", "verify"}) {
    std::atomic<int> stop{0};
    Conversion conversion = from_to(dir / "a", dir / "b", Layout::tetrad);
    conversion.stop = &stop;
    conversion.progress = [&](const char* phase, std::uint64_t, std::uint64_t) {
      if (std::string(phase) == when) stop = 2;
    };
    EXPECT_THROW(convert(conversion), Interrupted);
    EXPECT_EQ(names_in(dir.path()), std::vector<std::string>{"a"}) << when;
  }
}

TEST(Convert, a_failure_leaves_nothing) {
  TempDir dir;
  Sample sample;
  sample.all_dense();
  sample.tensors[q + ".weight"].bytes.replace(2 * 33, 2, "\xC0\x7F");  // NaN at row 1, column 1
  sample.write(dir / "a");
  for (const Layout layout : {Layout::tetrad, Layout::compressed_tensors}) {
    EXPECT_THAT(error_text([&] { convert(from_to(dir / "a", dir / "b", layout)); }),
                HasSubstr("'" + q + ".weight': the value at row 1, column 1 is not finite"));
  }
  Sample packed;
  packed.modelopt();
  packed.tensors[q + ".weight_scale"].bytes[0] = '\x7F';
  packed.write(dir / "p");
  EXPECT_THAT(error_text([&] { convert(from_to(dir / "p", dir / "b", Layout::tetrad)); }), HasSubstr("NaN"));
  EXPECT_EQ(names_in(dir.path()), (std::vector<std::string>{"a", "p"}));
}

TEST(Convert, targets_that_are_taken) {
  TempDir dir;
  Sample sample;
  sample.all_dense();
  sample.write(dir / "a");
  EXPECT_THAT(error_text([&] { convert(from_to(dir / "a", dir / "a", Layout::dense)); }),
              HasSubstr("same place"));
  fs::create_directories(dir / "b" / "c");
  EXPECT_THAT(error_text([&] { convert(from_to(dir / "a", dir / "b", Layout::dense)); }),
              HasSubstr("exists already"));
  EXPECT_THAT(error_text([&] { convert(from_to(dir / "a", dir / "no" / "b", Layout::dense)); }),
              HasSubstr("cannot be made"));
  fs::create_directories(dir / "empty");
  convert(from_to(dir / "a", dir / "empty", Layout::dense));
  EXPECT_TRUE(fs::exists(dir / "empty" / "model.safetensors"));
}

TEST(Convert, quantised_sources_gain_no_planes) {
  TempDir dir;
  Sample sample;
  sample.compressed_tensors();
  sample.write(dir / "a");
  convert(from_to(dir / "a", dir / "b", Layout::tetrad));
  EXPECT_FALSE(Checkpoint::open(dir / "b").find("lm_head.weight")->planes);
  Conversion conversion = from_to(dir / "a", dir / "c", Layout::tetrad);
  conversion.encoding.keep = {"*.q_proj"};
  convert(conversion);
  EXPECT_EQ(Checkpoint::open(dir / "c").find(q + ".weight")->dtype, io::DType::bf16) << "decoded on request";
}

}  // namespace
}  // namespace tetrad::checkpoint
