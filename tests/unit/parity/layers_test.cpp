// Telling a bug from rounding: synthetic chains of tensors in which errors grow as rounding makes them grow,
// and one place where something else happens.
#include "parity/compare/layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <limits>
#include <map>

#include "parity/compare/compare.h"
#include "parity/compare/contract.h"
#include "synthetic.h"

namespace tetrad::parity {
namespace {

using test::Matrix;
using test::random_matrix;
using test::SyntheticFolder;
using Tensors = std::map<std::string, Matrix>;

constexpr std::int64_t rows = 8;
constexpr std::int64_t width = 128;
constexpr int layers = 6;
const double bf16 =
    contract_of({{"identity", {{"dtype", "bfloat16"}}}}, {{"identity", {{"dtype", "bfloat16"}}}}, {})
        .rounding;

std::string name(int layer, const char* tensor) {
  return (layer < 0 ? std::string("-01") : "00" + std::to_string(layer)) + "/" + tensor;
}

// Values of a model with a huge channel and a huge first token, as language models have.
Tensors values() {
  Tensors result;
  unsigned seed = 1;
  result["-01/00.embedding"] = random_matrix(rows, width, seed++);
  for (int layer = 0; layer < layers; ++layer) {
    for (const char* tensor : {"00.q", "01.attention", "02.out"}) {
      Matrix m = random_matrix(rows, width, seed++);
      for (std::int64_t c = 0; c < width; ++c) m.at(0, c) *= 300;
      for (std::int64_t r = 0; r < rows; ++r) m.at(r, 9) *= 50;
      result[name(layer, tensor)] = m;
    }
  }
  result["006/00.norm"] = random_matrix(rows, width, seed++);
  return result;
}

// The same with a relative error that grows by `step` from layer to layer.
Tensors rounded(const Tensors& exact, float step, unsigned seed) {
  Tensors result;
  for (const auto& [key, m] : exact) {
    const int layer = key[0] == '-' ? 0 : key[2] - '0' + 1;
    result[key] = layer == 0 ? m : test::with_noise(m, step * std::sqrt(static_cast<float>(layer)), seed++);
  }
  return result;
}

LayerComparison compare(const Tensors& a, const Tensors& b) {
  SyntheticFolder folder;
  folder.add_arm("a");
  folder.add_arm("b");
  folder.layers(0, a);
  folder.layers(1, b);
  return compare_layers(folder.arm_path(0) / "layers.safetensors", folder.arm_path(1) / "layers.safetensors");
}

TEST(Layers, OrderOfComputing) {
  const Tensors exact = values();
  const LayerComparison result = compare(exact, exact);
  ASSERT_EQ(result.tensors.size(), 2U + 3 * layers);
  EXPECT_EQ(result.tensors.front().layer, -1);
  EXPECT_EQ(result.tensors.front().tensor, "embedding");
  EXPECT_EQ(result.tensors[2].layer, 0);
  EXPECT_EQ(result.tensors[2].tensor, "attention");
  EXPECT_EQ(result.tensors.back().layer, 6);
  for (const auto& t : result.tensors) EXPECT_EQ(t.errors.error, 0);
  EXPECT_EQ(judge_layers(result, bf16, std::nullopt, 2, {}).first_beyond, -1);
}

TEST(Layers, ErrorByHand) {
  Tensors a;
  a["000/00.x"] = {2, 2, {1, -3, 0, 4}};  // mean magnitudes 2 and 2
  Tensors b = a;
  b["000/00.x"].at(0, 0) = 2;  // 1 / sqrt(1 + 4)
  b["000/00.x"].at(1, 1) = 3;  // 1 / sqrt(16 + 4)
  const TensorErrors e = compare(a, b).tensors[0].errors;
  EXPECT_NEAR(e.error, std::sqrt((1.0 / 5 + 1.0 / 20) / 4), 1e-12);
  EXPECT_NEAR(e.channel, std::sqrt(1.0 / 5 / 2), 1e-12);
  EXPECT_EQ(e.worst_channel, 0);
  EXPECT_NEAR(e.position, std::sqrt(1.0 / 5 / 2), 1e-12);
  EXPECT_EQ(e.worst_position, 1);  // the positions stored begin at 1
}

TEST(Layers, ARowOfZerosIsWhollyWrong) {
  Tensors a;
  a["000/00.x"] = {1, 2, {0, 0}};
  Tensors b = a;
  b["000/00.x"].at(0, 1) = 1e-20F;
  EXPECT_NEAR(compare(a, b).tensors[0].errors.error, std::sqrt(0.5), 1e-12);
}

TEST(Layers, RoundingIsNoBug) {
  const Tensors exact = values();
  for (unsigned seed = 10; seed < 30; ++seed) {
    const LayerVerdict v =
        judge_layers(compare(exact, rounded(exact, 4e-3F, seed)), bf16, std::nullopt, 2, {});
    EXPECT_EQ(v.first_beyond, -1) << seed << " " << v.what << " " << v.measured << " > " << v.allowed;
  }
}

TEST(Layers, AJumpIsFoundWhereItHappens) {
  const Tensors exact = values();
  for (int layer = 0; layer < layers; ++layer) {
    Tensors broken = rounded(exact, 4e-3F, 3);
    for (int after = layer; after < layers; ++after) {  // everything after it is as wrong
      for (const char* tensor : {"01.attention", "02.out"}) {
        broken[name(after, tensor)] = test::with_noise(broken[name(after, tensor)], 0.3F, 7);
      }
      if (after > layer) broken[name(after, "00.q")] = test::with_noise(broken[name(after, "00.q")], 0.3F, 8);
    }
    const LayerComparison result = compare(exact, broken);
    const LayerVerdict v = judge_layers(result, bf16, std::nullopt, 2, {});
    ASSERT_GE(v.first_beyond, 0);
    const TensorComparison& first = result.tensors[static_cast<std::size_t>(v.first_beyond)];
    EXPECT_EQ(first.layer, layer);
    EXPECT_EQ(first.tensor, "attention");
    EXPECT_EQ(v.what, "error");
  }
}

TEST(Layers, OneWrongChannelIsFoundThoughTheWholeIsFine) {
  const Tensors exact = values();
  Tensors broken = rounded(exact, 1e-3F, 3);
  for (std::int64_t r = 0; r < rows; ++r) broken[name(2, "00.q")].at(r, 17) *= 1.3F;
  const LayerComparison result = compare(exact, broken);
  const LayerVerdict v = judge_layers(result, bf16, std::nullopt, 2, {});
  ASSERT_GE(v.first_beyond, 0);
  EXPECT_EQ(v.what, "channel");
  const TensorComparison& first = result.tensors[static_cast<std::size_t>(v.first_beyond)];
  EXPECT_EQ(first.layer, 2);
  EXPECT_EQ(first.errors.worst_channel, 17);
}

TEST(Layers, OneWrongPositionIsFound) {
  const Tensors exact = values();
  Tensors broken = rounded(exact, 1e-3F, 3);
  for (std::int64_t c = 0; c < width; ++c)
    broken[name(3, "01.attention")].at(5, c) *= c % 2 == 0 ? 1.25F : 0.75F;
  const LayerComparison result = compare(exact, broken);
  const LayerVerdict v = judge_layers(result, bf16, std::nullopt, 2, {});
  ASSERT_GE(v.first_beyond, 0);
  EXPECT_EQ(result.tensors[static_cast<std::size_t>(v.first_beyond)].layer, 3);
  EXPECT_EQ(result.tensors[static_cast<std::size_t>(v.first_beyond)].errors.worst_position, 6);
}

TEST(Layers, SelfNoiseSharpensTheTest) {
  const Tensors exact = values();
  // Errors beyond what the contract explains, that the reference's own arm shows as well.
  const Tensors noisy = rounded(exact, 0.08F, 3);
  const LayerComparison self = compare(exact, noisy);
  const LayerComparison other = compare(exact, rounded(exact, 0.08F, 99));
  EXPECT_GE(judge_layers(other, bf16, std::nullopt, 2, {}).first_beyond, 0);
  EXPECT_EQ(judge_layers(other, bf16, std::nullopt, 2, {&self}).first_beyond, -1);
  EXPECT_EQ(judge_layers(other, bf16, std::nullopt, 2, {&self}).source, ToleranceSource::self_noise);
  const LayerComparison twice = compare(exact, rounded(exact, 0.24F, 99));
  EXPECT_GE(judge_layers(twice, bf16, std::nullopt, 2, {&self}).first_beyond, 0);
}

TEST(Layers, GivenToleranceAndNan) {
  const Tensors exact = values();
  Tensors b = rounded(exact, 1e-3F, 3);
  const LayerVerdict v = judge_layers(compare(exact, b), bf16, 1e-4, 2, {});
  EXPECT_EQ(v.first_beyond, 1);
  EXPECT_EQ(v.source, ToleranceSource::given);
  b[name(1, "02.out")].at(4, 3) = std::numeric_limits<float>::quiet_NaN();
  const LayerComparison broken = compare(exact, b);
  const LayerVerdict w = judge_layers(broken, bf16, 1e9, 2, {});
  ASSERT_GE(w.first_beyond, 0);
  EXPECT_EQ(w.what, "not_finite");
  EXPECT_EQ(broken.tensors[static_cast<std::size_t>(w.first_beyond)].errors.worst_position, 5);
  EXPECT_EQ(broken.tensors[static_cast<std::size_t>(w.first_beyond)].errors.worst_channel, 3);
}

TEST(Layers, ReportNamesTheFirstTensor) {
  const Tensors exact = values();
  Tensors broken = rounded(exact, 1e-3F, 3);
  for (float& v : broken[name(4, "00.q")].values) v *= 1.5F;
  SyntheticFolder folder;
  folder.add_arm("a");
  folder.add_arm("b");
  const Matrix logits = random_matrix(5, 7, 1);
  for (std::size_t arm : {0U, 1U}) folder.logits(arm, logits);
  folder.layers(0, exact);
  folder.layers(1, broken);
  const nlohmann::json report = make_report(folder.write());
  const nlohmann::json& first = report["arms"][1]["against_reference"]["first_layer_beyond"];
  EXPECT_EQ(first["layer"], 4);
  EXPECT_EQ(first["tensor"], "q");
  EXPECT_EQ(report["arms"][1]["verdict"]["reasons"][0]["code"], "layer_above");
  EXPECT_THAT(report["sentences"]["en"][1].get<std::string>(), ::testing::HasSubstr("layer 4's q"));
}

TEST(Layers, HostileFiles) {
  const auto refused = [](const Tensors& a, const Tensors& b) {
    try {
      compare(a, b);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const Matrix m = random_matrix(2, 3, 1);
  EXPECT_THAT(refused({{"000/00.x", m}}, {{"000/00.x", random_matrix(2, 4, 1)}}),
              ::testing::HasSubstr("[2, 4]"));
  EXPECT_THAT(refused({{"000/00.x", m}}, {{"000/00.x", random_matrix(3, 3, 1)}}),
              ::testing::HasSubstr("positions"));
  EXPECT_THAT(refused({{"nolayer", m}}, {{"nolayer", m}}), ::testing::HasSubstr("nolayer"));
  EXPECT_THAT(refused({{"9999999999/00.x", m}}, {{"9999999999/00.x", m}}),
              ::testing::HasSubstr("not called"));
  const LayerComparison only =
      compare({{"000/00.x", m}, {"000/01.y", m}}, {{"000/00.x", m}, {"000/02.z", m}});
  EXPECT_THAT(only.missing, ::testing::ElementsAre("000/01.y", "000/02.z"));
}

}  // namespace
}  // namespace tetrad::parity
