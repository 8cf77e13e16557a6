#include "train/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/sha256.h>

#include <random>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "support/error_text.h"
#include "support/temp_dir.h"
#include "train/checkpoint/checksum.h"
#include "unit/train_data/checkpoint_content.h"

namespace tetrad::train {
namespace {

namespace fs = std::filesystem;
using test::content_of;
using test::error_text;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Saved : public ::testing::Test {
 protected:
  test::TempDir dir;
  fs::path folder = CheckpointStore({.folder = dir / "checkpoints"}).save(content_of(12));

  std::string problem() const {
    return error_text([&] { Checkpoint::open(folder).verify(); });
  }
};

TEST_F(Saved, EverythingComesBack) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  EXPECT_EQ(folder.filename(), "step-00000012");
  EXPECT_EQ(checkpoint.step(), 12);
  EXPECT_EQ(checkpoint.identity(), content_of(12).identity);
  EXPECT_EQ(checkpoint.state(), content_of(12).state);
  EXPECT_TRUE(test::is_whole(checkpoint));
  std::size_t taken = 0;
  checkpoint.restore([&](const io::TensorSpec& spec, std::span<const std::byte> bytes) {
    EXPECT_EQ(bytes.data(), checkpoint.tensor(spec.name).data());
    ++taken;
  });
  EXPECT_EQ(taken, test::test_specs().size());
  std::uint64_t bytes = 0;
  for (const char* name : {"weights.safetensors", "optimizer.safetensors", "state.json"})
    bytes += fs::file_size(folder / name);
  EXPECT_EQ(checkpoint.bytes(), bytes);
  EXPECT_THAT(error_text([&] { checkpoint.tensor("x"); }), HasSubstr("there is no tensor 'x'"));
}

// The files are what other programs read, too.
TEST_F(Saved, GroupsAreSafetensorsFiles) {
  const auto file = io::SafetensorsFile::open(folder / "weights.safetensors");
  EXPECT_EQ(file.tensors().size(), 3U);
  EXPECT_EQ(file.at("a.weight.scales").dtype, io::DType::f8_e4m3);
}

TEST_F(Saved, AnotherRunIsRefusedWithTheReasons) {
  const Checkpoint checkpoint = Checkpoint::open(folder);
  checkpoint.require_identity({{"model", "tiny"}, {"optimizer", "none"}});
  EXPECT_THAT(error_text([&] {
                checkpoint.require_identity({{"model", "other"}, {"planes", "2"}});
              }),
              AllOf(HasSubstr("model: this run has other, the checkpoint tiny"),
                    HasSubstr("planes: this run has 2, the checkpoint nothing"),
                    HasSubstr("optimizer: the checkpoint has none, this run nothing")));
  auto specs = test::test_specs();
  checkpoint.require_tensors(specs);
  specs[0].shape = {8, 1000};
  specs[1].dtype = io::DType::u8;
  specs[2].name = "b";
  EXPECT_THAT(
      error_text([&] { checkpoint.require_tensors(specs); }),
      AllOf(HasSubstr("'a.weight.codes' is U8 [1000, 8] in it, U8 [8, 1000] here"),
            HasSubstr("'a.weight.scales' is F8_E4M3 [1000, 1] in it, U8 [1000, 1] here"),
            HasSubstr("'b' is missing in it"), HasSubstr("'a.weight.global_scale' is in it and not here"),
            Not(HasSubstr("a.weight.v"))));
}

TEST_F(Saved, AnotherFormatIsNamed) {
  std::string text = test::read_all(folder / "manifest.json");
  const auto at = text.find("\"format\": 1");
  ASSERT_NE(at, std::string::npos);
  text[at + 10] = '2';
  dir.write(folder / "manifest.json", text);
  EXPECT_THAT(problem(), HasSubstr("is of format 2, and this version of Tetrad reads format 1"));
}

// Every file cut short at many places, and at every byte of the small ones.
TEST_F(Saved, EveryCutIsFound) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string whole = test::read_all(entry.path());
    const std::size_t stride = std::max<std::size_t>(1, whole.size() / 97);
    for (std::size_t size = 0; size < whole.size(); size += stride) {
      dir.write(entry.path(), whole.substr(0, size));
      EXPECT_THAT(problem(), Not("no error")) << entry.path() << " " << size;
    }
    // The manifest ends with a line feed that nothing needs.
    dir.write(entry.path(), whole.substr(0, whole.size() - 2));
    EXPECT_THAT(problem(), Not("no error")) << entry.path();
    dir.write(entry.path(), whole);
    EXPECT_EQ(problem(), "no error");
    fs::remove(entry.path());
    EXPECT_THAT(problem(), Not("no error")) << entry.path();
    dir.write(entry.path(), whole);
  }
}

TEST_F(Saved, EveryFlippedBitIsFound) {
  std::mt19937 random(1);
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string whole = test::read_all(entry.path());
    for (int i = 0; i < 400; ++i) {
      std::string damaged = whole;
      const std::size_t at = random() % whole.size();
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
      dir.write(entry.path(), damaged);
      bool unchanged = false;
      try {
        // White space in a header or in the manifest may change its kind: then the content is the same.
        unchanged = test::is_whole(Checkpoint::open(folder));
      } catch (const Error&) {
        continue;
      }
      const bool blank = whole[at] == ' ' || whole[at] == '\n';
      EXPECT_TRUE(blank && unchanged) << entry.path() << " byte " << at;
    }
    dir.write(entry.path(), whole);
  }
}

TEST_F(Saved, ADamagedOneHandsOutNothing) {
  std::string weights = test::read_all(folder / "weights.safetensors");
  weights.back() = static_cast<char>(weights.back() ^ 1);
  dir.write(folder / "weights.safetensors", weights);
  const Checkpoint checkpoint = Checkpoint::open(folder);
  int taken = 0;
  EXPECT_THAT(error_text([&] { checkpoint.restore([&](const auto&, auto) { ++taken; }); }),
              AllOf(HasSubstr("weights.safetensors: tensor 'a.weight."), HasSubstr("is damaged")));
  EXPECT_EQ(taken, 0);
}

// Whoever can write the checksum can write anything: what remains are the rules of the form.
TEST_F(Saved, HostileManifests) {
  const auto original = nlohmann::json::parse(test::read_all(folder / "manifest.json"));
  const auto with = [&](auto change) {
    auto manifest = original;
    change(manifest["checkpoint"]);
    manifest["sha256"] = sha256_hex(manifest["checkpoint"].dump());
    dir.write(folder / "manifest.json", manifest.dump());
    return problem();
  };
  EXPECT_EQ(with([](auto&) {}), "no error");
  EXPECT_THAT(with([](auto& m) { m["kind"] = "x"; }), HasSubstr("something else"));
  EXPECT_THAT(with([](auto& m) { m["step"] = -1; }), HasSubstr("'step' is not a count"));
  EXPECT_THAT(with([](auto& m) { m["step"] = 1.5; }), HasSubstr("'step' is not a count"));
  EXPECT_THAT(with([](auto& m) { m["identity"] = 3; }), HasSubstr("'identity'"));
  EXPECT_THAT(with([](auto& m) { m["identity"]["model"] = 3; }), HasSubstr("'identity'"));
  EXPECT_THAT(with([](auto& m) { m["groups"] = 3; }), HasSubstr("'groups'"));
  EXPECT_THAT(with([](auto& m) { m["groups"]["../../etc/passwd"] = m["groups"]["weights"]; }),
              HasSubstr("no name of a group"));
  EXPECT_THAT(with([](auto& m) { m["groups"]["optimizer"] = m["groups"]["weights"]; }),
              HasSubstr("in two groups"));
  EXPECT_THAT(with([](auto& m) { m["groups"]["optimizer"]["tensors"].erase("empty"); }),
              HasSubstr("has 2 tensors, the manifest 1"));
  EXPECT_THAT(with([](auto& m) {
                m["groups"]["optimizer"]["tensors"]["empty"]["shape"] = {3, 0};
              }),
              HasSubstr("tensor 'empty' is F32 [0, 3], and was written as F32 [3, 0]"));
  EXPECT_THAT(with([](auto& m) { m["groups"]["optimizer"]["tensors"]["empty"]["dtype"] = "X"; }),
              HasSubstr("unknown dtype"));
  EXPECT_THAT(with([](auto& m) { m["groups"]["optimizer"]["bytes"] = 1; }), HasSubstr("was written with 1"));
  EXPECT_THAT(with([](auto& m) {
                m["groups"]["third"] = m["groups"]["weights"];
                m["groups"].erase("weights");
              }),
              HasSubstr("third.safetensors"));
  EXPECT_THAT(with([](auto& m) { m["state"]["sha256"] = "xyz"; }),
              HasSubstr("'sha256' is not 64 hexadecimal digits"));
  EXPECT_THAT(with([](auto& m) { m["groups"]["optimizer"]["tensors"]["empty"]["xxh3"] = "xyz"; }),
              HasSubstr("'xxh3' is not 32 hexadecimal digits"));
  for (const char* text : {"", "null", "[]", "{}", "{\"checkpoint\":[]}", "\xFF"}) {
    dir.write(folder / "manifest.json", text);
    EXPECT_THAT(problem(), AllOf(Not("no error"), HasSubstr("manifest.json"))) << text;
  }
}

// The values that `xxhsum -H2` prints.
TEST(Checksum, IsXxh3) {
  const auto of = [](std::string_view text) { return checksum_hex(std::as_bytes(std::span(text))); };
  EXPECT_EQ(of(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(of("abc"), "06b05ab6733a618578af5f94892f3950");
  const std::string text(1000, 'x');
  Checksum pieces;
  for (std::size_t at = 0; at < text.size(); at += 7)
    pieces.update(std::as_bytes(std::span(text).subspan(at, std::min<std::size_t>(7, text.size() - at))));
  EXPECT_EQ(pieces.hex(), of(text));
}

TEST(Checkpoint, WhatIsNoCheckpoint) {
  const test::TempDir dir;
  EXPECT_THAT(error_text([&] { Checkpoint::open(dir.path()); }), HasSubstr("there is no manifest"));
  EXPECT_THAT(error_text([&] { Checkpoint::open(dir / "none"); }), HasSubstr("there is no manifest"));
}

}  // namespace
}  // namespace tetrad::train
