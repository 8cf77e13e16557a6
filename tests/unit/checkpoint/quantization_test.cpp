#include "checkpoint/quantization.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/error_text.h"
#include "support/temp_dir.h"
#include "unit/checkpoint/sample.h"

namespace tetrad::checkpoint {
namespace {

using nlohmann::json;
using test::error_text;
using test::Sample;
using test::TempDir;
using testing::HasSubstr;

std::string refusal(const json& quantization, const char* file = "config.json") {
  TempDir dir;
  const bool own = std::string(file) == "hf_quant_config.json";
  test::write_text(dir / file,
                   own ? quantization.dump() : json{{"quantization_config", quantization}}.dump());
  return error_text([&] { read_quantization(dir.path()); });
}

json ct() {
  Sample sample;
  sample.compressed_tensors(true);
  return sample.config["quantization_config"];
}

json mo() {
  Sample sample;
  sample.modelopt(true);
  return sample.config["quantization_config"];
}

// `base` with the value at a JSON pointer replaced.
json with(json base, const char* at, const json& value) {
  base[json::json_pointer(at)] = value;
  return base;
}

TEST(Quantization, none) {
  TempDir dir;
  EXPECT_EQ(read_quantization(dir.path()).layout, Layout::dense);
  test::write_text(dir / "config.json", R"({"quantization_config": null})");
  EXPECT_EQ(read_quantization(dir.path()).layout, Layout::dense);
}

TEST(Quantization, compressed_tensors) {
  EXPECT_EQ(refusal(ct()), "no error");
  const char* weights = "/config_groups/group_0/weights/";
  for (const auto& [field, value, says] : std::vector<std::tuple<std::string, json, std::string>>{
           {"num_bits", 8, "num_bits' is 8"},
           {"num_bits", "4", "num_bits"},
           {"group_size", 32, "group_size' is 32; NVFP4 has groups of 16"},
           {"group_size", nullptr, "group_size"},
           {"type", "int", "type' is int"},
           {"strategy", "channel", "strategy' is channel"},
           {"symmetric", false, "symmetric' is false"},
           {"actorder", "group", "actorder"}}) {
    EXPECT_THAT(refusal(with(ct(), (weights + field).c_str(), value)), HasSubstr(says));
  }
  EXPECT_THAT(refusal(with(ct(), "/config_groups/group_0/input_activations/group_size", 32)),
              HasSubstr("group_size' is 32"));
  EXPECT_THAT(refusal(with(ct(), "/config_groups/group_0/format", "float-quantized")),
              HasSubstr("float-quantized"));
  EXPECT_THAT(refusal(with(ct(), "/config_groups/group_0/output_activations", {{"num_bits", 8}})),
              HasSubstr("output_activations"));
  EXPECT_THAT(refusal(with(ct(), "/config_groups", json::object())), HasSubstr("is empty"));
  EXPECT_THAT(refusal(with(ct(), "/config_groups", nullptr)), HasSubstr("config_groups"));
  EXPECT_THAT(refusal(with(ct(), "/format", "pack-quantized")), HasSubstr("pack-quantized"));
  EXPECT_THAT(refusal(with(ct(), "/format", "mixed-precision")), HasSubstr("mixed-precision"));
  EXPECT_THAT(refusal(with(ct(), "/quantization_status", "frozen")), HasSubstr("frozen"));
  EXPECT_THAT(refusal(with(ct(), "/transform_config", {{"config_groups", {{"u", 1}}}})),
              HasSubstr("transform_config"));
  EXPECT_THAT(refusal(with(ct(), "/sparsity_config", {{"format", "sparse-24-bitmask"}})),
              HasSubstr("sparsity_config"));
  EXPECT_EQ(refusal(with(ct(), "/sparsity_config", {{"format", "dense"}})), "no error");
  EXPECT_EQ(refusal(with(ct(), "/transform_config", json::object())), "no error");
  EXPECT_THAT(refusal(with(ct(), "/ignore", {1})), HasSubstr("ignore"));
  json mixed = ct();
  mixed["config_groups"]["group_1"] = {{"targets", {"x"}},
                                       {"weights", mixed["config_groups"]["group_0"]["weights"]}};
  EXPECT_THAT(refusal(mixed), HasSubstr("mix groups with and without quantised activations"));
  EXPECT_THAT(refusal(with(ct(), "/quant_method", "awq")), HasSubstr("awq"));
}

TEST(Quantization, modelopt) {
  EXPECT_EQ(refusal(mo()), "no error");
  for (const char* algorithm : {"FP8", "MIXED_PRECISION", "NVFP4_AWQ", "W4A8_NVFP4_FP8"})
    EXPECT_THAT(refusal(with(mo(), "/quant_algo", algorithm)), HasSubstr(algorithm));
  EXPECT_THAT(refusal(with(mo(), "/quant_algo", nullptr)), HasSubstr("quant_algo"));
  EXPECT_THAT(refusal(with(mo(), "/group_size", 128)), HasSubstr("group_size' is 128"));
  EXPECT_THAT(refusal(with(mo(), "/config_groups", {{"g", {{"weights", {{"num_bits", 8}}}}}})),
              HasSubstr("num_bits' is 8"));
  const json own = {{"producer", {{"name", "modelopt"}}},
                    {"quantization",
                     {{"quant_algo", "NVFP4"},
                      {"kv_cache_quant_algo", "FP8"},
                      {"group_size", 16},
                      {"exclude_modules", {"lm_head", "model.layers.3*"}}}}};
  EXPECT_EQ(refusal(own, "hf_quant_config.json"), "no error");
  EXPECT_THAT(refusal(with(own, "/quantization/group_size", 32), "hf_quant_config.json"),
              HasSubstr("group_size' is 32"));
  EXPECT_THAT(refusal(json::object(), "hf_quant_config.json"), HasSubstr("quantization"));
  TempDir dir;
  test::write_text(dir / "hf_quant_config.json", own.dump());
  const Quantization read = read_quantization(dir.path());
  EXPECT_EQ(read.layout, Layout::modelopt);
  EXPECT_TRUE(read.activations);
  EXPECT_THAT(read.notes, testing::ElementsAre(HasSubstr("FP8")));
  EXPECT_TRUE(read.ignores("lm_head"));
  EXPECT_TRUE(read.ignores("model.layers.3.mlp.up_proj"));
  EXPECT_FALSE(read.ignores("model.layers.2.mlp.up_proj"));
}

TEST(Quantization, tetrad) {
  EXPECT_EQ(refusal({{"quant_method", "tetrad"}, {"version", 1}}), "no error");
  EXPECT_THAT(refusal({{"quant_method", "tetrad"}, {"version", 2}}), HasSubstr("version' is 2"));
  EXPECT_THAT(refusal({{"quant_method", "tetrad"}}), HasSubstr("version"));
}

TEST(Quantization, what_is_ignored) {
  Quantization ct_list;
  ct_list.layout = Layout::compressed_tensors;
  ct_list.ignore = {"lm_head", "re:.*\\.layers\\.(0|1)\\..*"};
  EXPECT_TRUE(ct_list.ignores("lm_head"));
  EXPECT_TRUE(ct_list.ignores("model.layers.1.mlp.up_proj"));
  EXPECT_FALSE(ct_list.ignores("model.layers.10.mlp.up_proj"));
  EXPECT_FALSE(ct_list.ignores("x.lm_head"));
  Quantization wild;
  wild.layout = Layout::modelopt;
  wild.ignore = {"*proj*", "a.?.c", "model.layers.7"};
  EXPECT_TRUE(wild.ignores("model.q_proj.x"));
  EXPECT_TRUE(wild.ignores("a.b.c"));
  EXPECT_FALSE(wild.ignores("a.bb.c"));
  EXPECT_TRUE(wild.ignores("model.layers.7.mlp"));
  EXPECT_FALSE(wild.ignores("model.layers.70.mlp"));
}

TEST(Quantization, what_is_written_is_read) {
  for (const Layout layout : {Layout::compressed_tensors, Layout::modelopt}) {
    for (const bool activations : {false, true}) {
      TempDir dir;
      test::write_text(
          dir / "config.json",
          json{{"quantization_config", quantization_config(layout, activations, {"lm_head"})}}.dump());
      const Quantization read = read_quantization(dir.path());
      EXPECT_EQ(read.layout, layout);
      EXPECT_EQ(read.activations, activations);
      EXPECT_EQ(read.ignore, std::vector<std::string>{"lm_head"});
    }
  }
  EXPECT_EQ(refusal(quantization_config(Layout::tetrad, false, {})), "no error");
  EXPECT_EQ(refusal(modelopt_quant_config(true, {"x"}), "hf_quant_config.json"), "no error");
}

}  // namespace
}  // namespace tetrad::checkpoint
