// Whole result folders: figures, verdicts with their reasons, and what is refused.
#include "parity/compare/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>

#include <filesystem>
#include <limits>

#include "parity/compare/seal.h"
#include "synthetic.h"

namespace tetrad::parity {
namespace {

using nlohmann::json;
using test::Matrix;
using test::random_matrix;
using test::SyntheticFolder;
using test::with_noise;
using ::testing::Contains;
using ::testing::HasSubstr;

json difference(const char* key, bool swept = true) {
  return {{"key", key}, {"a", 1}, {"b", 2}, {"swept", swept}};
}

// The message of the Error(usage) that a call throws.
template <class F>
std::string error_text(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "no error";
}

std::vector<std::string> codes(const json& arm) {
  std::vector<std::string> result;
  for (const json& reason : arm["verdict"]["reasons"]) result.push_back(reason["code"]);
  return result;
}

// A reference and one arm with these logits.
struct Two : SyntheticFolder {
  explicit Two(const Matrix& a, const Matrix& b) {
    add_arm("reference");
    add_arm("own", json::array({difference("path")}));
    logits(0, a);
    logits(1, b);
  }
  json arm() { return make_report(write())["arms"][1]; }
};

TEST(Compare, EqualToTheBitPasses) {
  const Matrix m = random_matrix(5, 7, 1, 3);
  Two two(m, m);
  const json report = make_report(two.write());
  const json& arm = report["arms"][1];
  EXPECT_EQ(report["verdict"], (json{{"word", "pass"}, {"exit_code", 0}}));
  EXPECT_EQ(report["arms"][0]["verdict"]["word"], "reference");
  EXPECT_TRUE(arm["against_reference"]["bit_equal"]);
  EXPECT_EQ(arm["against_reference"]["kl_max"], 0);
  EXPECT_EQ(arm["against_reference"]["top1_agreement"], 1);
  EXPECT_TRUE(arm["against_reference"]["first_divergence"].is_null());
  EXPECT_TRUE(arm["against_reference"]["text_divergence"].is_null());
  for (const json& check : arm["checks"]) EXPECT_TRUE(check["ok"]) << check;
}

TEST(Compare, RoundingPassesAndABugFails) {
  const Matrix m = random_matrix(5, 7, 1, 3);
  Two near(m, with_noise(m, 2e-3F, 2));
  EXPECT_EQ(near.arm()["verdict"]["word"], "pass");
  Two far(m, with_noise(m, 0.6F, 2));
  const json arm = far.arm();
  EXPECT_EQ(arm["verdict"]["word"], "fail");
  EXPECT_THAT(codes(arm), Contains("kl_above"));
  EXPECT_EQ(arm["verdict"]["reasons"][0]["source"], "contract");
}

TEST(Compare, Fp32IsHeldToItsOwnRounding) {
  const Matrix m = random_matrix(5, 7, 1, 3);
  Two two(m, with_noise(m, 2e-3F, 2));
  for (json& record : two.records) record["identity"]["dtype"] = "float32";
  EXPECT_EQ(two.arm()["verdict"]["word"], "fail");  // passes in bfloat16, see above
}

TEST(Compare, WeightsByAnotherRuleMayDifferMore) {
  const Matrix m = random_matrix(5, 7, 1, 3);
  Two two(m, with_noise(m, 0.15F, 2));
  EXPECT_EQ(two.arm()["verdict"]["word"], "fail");
  two.records[0]["numerics"]["linear"]["weights"] = {{"reference", "dense"}, {"bound", 0}};
  EXPECT_EQ(two.arm()["verdict"]["word"], "pass");
}

TEST(Compare, FirstDivergenceWithTurnAndPieces) {
  Matrix a{5, 7, std::vector<float>(35, 0.0F)};
  for (std::int64_t r = 0; r < 5; ++r) a.at(r, 4) = 9;
  Matrix b = a;
  b.at(2, 6) = 10;
  b.at(3, 6) = 10;
  Two two(a, b);
  const json arm = two.arm();
  const json& first = arm["against_reference"]["first_divergence"];
  EXPECT_EQ(first["position"], 2);  // predicts token 3, in the answer of turn 1
  EXPECT_EQ(first["turn"], 1);
  EXPECT_EQ(first["kind"], "answer");
  EXPECT_EQ(first["reference"], (json{{"id", 4}, {"piece", {{"text", "a"}}}}));
  EXPECT_EQ(first["own"], (json{{"id", 6}, {"piece", {{"text", "b"}}}}));
  EXPECT_EQ(arm["against_reference"]["agreeing"], 3);
  EXPECT_DOUBLE_EQ(arm["against_reference"]["top1_agreement"], 0.6);
}

TEST(Compare, TextDivergence) {
  const Matrix m = random_matrix(5, 7, 1);
  Two two(m, m);
  two.records[1]["greedy"][0]["ids"] = {4, 3};
  two.records[1]["greedy"][0]["pieces"] = {{{"text", "a"}}, {{"text", "x"}}};
  json text = two.arm()["against_reference"]["text_divergence"];
  EXPECT_EQ(text["turn"], 1);
  EXPECT_EQ(text["token"], 1);
  EXPECT_EQ(text["reference"]["id"], 6);
  EXPECT_EQ(text["own"]["id"], 3);
  two.records[1]["greedy"][0]["ids"] = {4};  // it ended
  text = two.arm()["against_reference"]["text_divergence"];
  EXPECT_EQ(text["token"], 1);
  EXPECT_TRUE(text["own"].is_null());
}

TEST(Compare, NanLogitsFailAndNameTheirPosition) {
  const Matrix a = random_matrix(5, 7, 1);
  Matrix b = a;
  b.at(3, 2) = std::numeric_limits<float>::quiet_NaN();
  Two two(a, b);
  const json arm = two.arm();
  EXPECT_EQ(arm["verdict"]["word"], "fail");
  EXPECT_EQ(arm["verdict"]["reasons"][0]["code"], "not_finite");
  EXPECT_EQ(arm["verdict"]["reasons"][0]["position"], 3);
  EXPECT_TRUE(arm["against_reference"]["kl"][3].is_null());
  EXPECT_EQ(arm["against_reference"]["compared"], 4);
}

TEST(Compare, EveryPositionNan) {
  const Matrix a = random_matrix(5, 7, 1);
  Matrix b = a;
  for (float& v : b.values) v = std::numeric_limits<float>::infinity();
  Two two(a, b);
  const json arm = two.arm();
  EXPECT_EQ(arm["verdict"]["word"], "fail");
  EXPECT_TRUE(arm["against_reference"]["kl_max"].is_null());
}

TEST(Compare, ReferenceWithNanIsNoReference) {
  Matrix a = random_matrix(5, 7, 1);
  const Matrix b = a;
  a.at(0, 0) = std::numeric_limits<float>::quiet_NaN();
  Two two(a, b);
  EXPECT_EQ(two.arm()["verdict"]["word"], "not_comparable");
}

TEST(Compare, NotComparable) {
  const Matrix m = random_matrix(5, 7, 1);
  const auto with = [&](const auto& change) {
    Two two(m, m);
    change(two);
    const json report = make_report(two.write());
    EXPECT_EQ(report["verdict"]["exit_code"], 2);
    return codes(report["arms"][1]);
  };
  EXPECT_THAT(with([](Two& t) { t.records[1]["tokenizer_sha256"] = "other"; }), Contains("other_tokenizer"));
  EXPECT_THAT(with([](Two& t) { t.records[1]["weights_identity"] = "other"; }), Contains("other_weights"));
  EXPECT_THAT(with([](Two& t) { t.plan["arms"][1]["differs"].push_back(difference("model.dtype", false)); }),
              Contains("other_keys"));
  EXPECT_THAT(with([](Two& t) { t.records[1]["script_sha256"] = "other"; }), Contains("other_script"));
  EXPECT_THAT(with([](Two& t) {
                t.records[1]["vocab_size"] = 8;
                t.logits(1, random_matrix(5, 8, 1));
              }),
              Contains("other_vocabulary"));
}

TEST(Compare, AGivenToleranceSpeaksForOtherWeights) {
  const Matrix m = random_matrix(5, 7, 1);
  Two two(m, m);
  two.records[1]["weights_identity"] = "other";
  two.plan["settings"]["tolerance"]["kl"] = 0.1;
  EXPECT_EQ(two.arm()["verdict"]["word"], "pass");
}

TEST(Compare, WhatIsNotSaidContradictsNothing) {
  const Matrix m = random_matrix(5, 7, 1);
  Two two(m, m);
  for (const char* key : {"tokenizer_sha256", "weights_identity", "script_sha256", "numerics", "identity"}) {
    two.records[1][key] = nullptr;
  }
  EXPECT_EQ(two.arm()["verdict"]["word"], "pass");
}

TEST(Compare, GivenTolerances) {
  const Matrix m = random_matrix(5, 7, 1, 3);
  Two two(m, with_noise(m, 2e-3F, 2));
  two.plan["settings"]["tolerance"] = {{"kl", 1e-12}, {"max_logit", 1e-9}, {"top1", 1.0}};
  const json arm = two.arm();
  EXPECT_THAT(codes(arm), ::testing::ElementsAre("kl_above", "max_logit_above"));
  EXPECT_EQ(arm["verdict"]["reasons"][0]["source"], "tolerance");
  EXPECT_EQ(arm["verdict"]["reasons"][0]["allowed"], 1e-12);
}

TEST(Compare, SelfNoiseIsTheMeasure) {
  const Matrix m = random_matrix(5, 7, 1, 3);
  SyntheticFolder folder;
  folder.add_arm("reference");
  folder.add_arm("reference in chunks", json::array({difference("parity.feed")}));
  folder.add_arm("good", json::array({difference("path")}));
  folder.add_arm("bad", json::array({difference("path")}));
  folder.logits(0, m);
  folder.logits(1, with_noise(m, 1e-4F, 2));
  folder.logits(2, with_noise(m, 5e-5F, 3));
  folder.logits(3, with_noise(m, 2e-3F, 3));  // within the contract
  const json report = make_report(folder.write());
  EXPECT_EQ(report["self_noise"]["arms"], 1);
  EXPECT_TRUE(report["arms"][1]["against_reference"]["own_arm"]);
  EXPECT_EQ(report["arms"][1]["checks"][0]["source"], "contract");  // not judged by itself
  EXPECT_EQ(report["arms"][2]["checks"][0]["source"], "self-noise");
  EXPECT_EQ(report["arms"][2]["checks"][0]["allowed"], 2 * report["self_noise"]["kl_max"].get<double>());
  EXPECT_EQ(report["arms"][2]["verdict"]["word"], "pass");
  EXPECT_EQ(report["arms"][3]["verdict"]["word"], "fail");
  EXPECT_EQ(report["verdict"]["exit_code"], 1);
}

TEST(Compare, SelfNoiseOfZeroSaysNothing) {
  const Matrix m = random_matrix(5, 7, 1, 3);
  SyntheticFolder folder;
  folder.add_arm("reference");
  folder.add_arm("reference in chunks", json::array({difference("parity.feed")}));
  folder.add_arm("good", json::array({difference("path")}));
  folder.logits(0, m);
  folder.logits(1, m);
  folder.logits(2, with_noise(m, 1e-4F, 3));
  const json report = make_report(folder.write());
  EXPECT_EQ(report["arms"][2]["checks"][0]["source"], "contract");
  EXPECT_EQ(report["verdict"]["word"], "pass");
}

TEST(Compare, AFailedArmIsARow) {
  const Matrix m = random_matrix(5, 7, 1);
  SyntheticFolder folder;
  for (const char* label : {"reference", "fails", "never ran", "not prepared", "fine"}) folder.add_arm(label);
  folder.records[1] = {
      {"format", "tetrad-parity-arm"}, {"version", 1}, {"status", "failed"}, {"error", "no memory"}};
  folder.records[2] = nullptr;
  folder.records[3] = nullptr;
  folder.plan["arms"][3]["error"] = "no plugin 'x'";
  folder.logits(0, m);
  folder.logits(4, m);
  const json report = make_report(folder.write());
  EXPECT_EQ(report["verdict"]["exit_code"], 1);
  EXPECT_EQ(report["arms"][1]["verdict"]["word"], "failed");
  EXPECT_EQ(report["arms"][1]["error"], "no memory");
  EXPECT_THAT(report["arms"][2]["error"].get<std::string>(), HasSubstr("arm.json"));
  EXPECT_EQ(report["arms"][3]["error"], "no plugin 'x'");
  EXPECT_EQ(report["arms"][4]["verdict"]["word"], "pass");
}

TEST(Compare, AFailedReferenceLeavesNothingToCompare) {
  SyntheticFolder folder;
  folder.add_arm("reference");
  folder.add_arm("own");
  folder.records[0] = nullptr;
  folder.script = nullptr;
  const json report = make_report(folder.write());
  EXPECT_EQ(report["verdict"]["exit_code"], 1);
  EXPECT_EQ(report["arms"][1]["verdict"]["reasons"][0]["code"], "reference_failed");
}

TEST(Compare, IterationsThatDiffer) {
  const Matrix m = random_matrix(5, 7, 1);
  Two two(m, m);
  two.records[1]["iterations"] = {
      {"count", 3}, {"equal", false}, {"first_difference", {{"iteration", 2}, {"position", 4}}}};
  const json arm = two.arm();
  EXPECT_EQ(arm["verdict"]["reasons"][0],
            (json{{"code", "iterations_differ"}, {"iteration", 2}, {"position", 4}}));
}

TEST(Compare, PerplexityIsPaired) {
  const Matrix m = random_matrix(5, 7, 1);
  Two two(m, m);
  json a = json::array();
  json b = json::array();
  for (int i = 0; i < 400; ++i) {
    const double nll = 2 + std::sin(i * 1.7);  // hard and easy tokens: alone, an error of 4 %
    a.push_back(nll);
    b.push_back(nll + 0.05 + 0.001 * std::cos(i));
  }
  two.records[0]["perplexity"] = {{"value", std::exp(2.0)}, {"standard_error", 0.3}, {"token_nll", a}};
  two.records[1]["perplexity"] = {{"value", std::exp(2.05)}, {"standard_error", 0.3}, {"token_nll", b}};
  json arm = two.arm();
  EXPECT_NEAR(arm["against_reference"]["perplexity_ratio"], std::exp(0.05), 1e-12);
  EXPECT_NEAR(arm["against_reference"]["perplexity_ratio_log_error"], 0.001 * std::sqrt(0.5) / 20, 1e-6);
  EXPECT_EQ(codes(arm), std::vector<std::string>{"perplexity_above"});
  EXPECT_FALSE(arm["figures"]["perplexity"].contains("token_nll"));
  two.plan["settings"]["tolerance"]["perplexity_ratio"] = 1.06;
  EXPECT_EQ(two.arm()["verdict"]["word"], "pass");
}

TEST(Compare, BrokenFilesAreNamed) {
  const Matrix m = random_matrix(5, 7, 1);
  const auto refused = [&](const auto& change) {
    Two two(m, m);
    two.write();
    change(two);
    return error_text([&] { make_report(two.path()); });
  };
  const auto shorten = [](const std::filesystem::path& file) {
    std::filesystem::resize_file(file, std::filesystem::file_size(file) - 5);
  };
  EXPECT_THAT(refused([&](Two& t) { shorten(t.path() / "plan.json"); }), HasSubstr("plan.json"));
  EXPECT_THAT(refused([&](Two& t) { shorten(t.path() / "script.json"); }), HasSubstr("script.json"));
  EXPECT_THAT(refused([&](Two& t) { shorten(t.arm_path(1) / "arm.json"); }), HasSubstr("1/arm.json"));
  EXPECT_THAT(refused([&](Two& t) { shorten(t.arm_path(1) / "logits.safetensors"); }),
              HasSubstr("1/logits.safetensors"));
  EXPECT_THAT(refused([&](Two& t) { std::filesystem::remove(t.arm_path(0) / "logits.safetensors"); }),
              HasSubstr("0/logits.safetensors"));
  EXPECT_THAT(refused([&](Two& t) {
                t.plan["arms"][1]["folder"] = "../elsewhere";
                io::write_file(t.path() / "plan.json", t.plan.dump());
              }),
              HasSubstr("not inside"));
  EXPECT_THAT(refused([&](Two& t) {
                t.script["ids"][2] = 7;
                io::write_file(t.path() / "script.json", t.script.dump());
              }),
              HasSubstr("id 7"));
  EXPECT_THAT(refused([&](Two& t) {
                t.script["ids"] = json::array();
                io::write_file(t.path() / "script.json", t.script.dump());
              }),
              HasSubstr("nothing to score"));
  EXPECT_THAT(refused([&](Two& t) {
                t.script["segments"][1]["end"] = 6;
                io::write_file(t.path() / "script.json", t.script.dump());
              }),
              HasSubstr("segment"));
  EXPECT_THAT(refused([&](Two& t) {
                t.plan["reference"] = 2;
                io::write_file(t.path() / "plan.json", t.plan.dump());
              }),
              HasSubstr("'reference' is 2"));
}

TEST(Compare, ZeroPositionsAreRefused) {
  Two two(random_matrix(5, 7, 1), random_matrix(5, 7, 1));
  two.write();
  io::write_safetensors(two.arm_path(1) / "logits.safetensors",
                        std::vector<io::TensorData>{{{"input_ids", io::DType::i64, {0}}, {}},
                                                    {{"logits", io::DType::f32, {0, 7}}, {}}});
  EXPECT_THAT(error_text([&] { make_report(two.path()); }), HasSubstr("no positions"));
}

TEST(Seal, ReadsBackAndRefusesWhatWasTouched) {
  const Matrix m = random_matrix(5, 7, 1);
  Two two(m, with_noise(m, 1e-3F, 2));
  const json report = make_report(two.write());
  const auto file = two.path() / "report.json";
  write_report(file, report);
  EXPECT_EQ(read_report(file), report);
  EXPECT_EQ(read_report(two.path()), report);
  EXPECT_EQ(make_report(two.path()), report);  // and it is the same each time

  json altered = report;
  altered["arms"][1]["against_reference"]["kl_max"] = 0.0;
  write_report(file, altered);
  EXPECT_THAT(error_text([&] { read_report(file); }), HasSubstr("checksum"));
  write_report(file, report);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  EXPECT_THAT(error_text([&] { read_report(file); }), HasSubstr("cut short"));
  io::write_file(file, "{}");
  EXPECT_THAT(error_text([&] { read_report(file); }), HasSubstr("not a parity report"));
  std::filesystem::remove(file);
  EXPECT_THAT(error_text([&] { read_report(file); }), HasSubstr("no such report"));
}

}  // namespace
}  // namespace tetrad::parity
