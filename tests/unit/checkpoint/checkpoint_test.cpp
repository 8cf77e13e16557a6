#include "checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/error_text.h"
#include "support/temp_dir.h"
#include "unit/checkpoint/sample.h"

namespace tetrad::checkpoint {
namespace {

using test::error_text;
using test::float_bytes;
using test::Sample;
using test::TempDir;
using testing::AllOf;
using testing::HasSubstr;

const std::string q = "model.layers.0.self_attn.q_proj";

std::string bytes_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What is said about a sample that `change` broke.
template <class F>
std::string broken(void (*layout)(Sample&), F&& change) {
  TempDir dir;
  Sample sample;
  layout(sample);
  change(sample);
  sample.write(dir.path());
  return error_text([&] {
    const auto checkpoint = Checkpoint::open(dir.path());
    checkpoint.check_names(model::ModelConfig::load(dir.path()));
    for (const Tensor& tensor : checkpoint.tensors()) check_block_scales(tensor, "here");
  });
}

void ct(Sample& s) {
  s.compressed_tensors();
}
void ct_w4a4(Sample& s) {
  s.compressed_tensors(true);
}
void mo(Sample& s) {
  s.modelopt();
}
void mo_w4a4(Sample& s) {
  s.modelopt(true);
}
void planes(Sample& s) {
  s.tetrad();
}
void dense(Sample& s) {
  s.all_dense();
}

TEST(Checkpoint, every_layout_is_sound) {
  for (auto* layout : {ct, ct_w4a4, mo, mo_w4a4, planes, dense})
    EXPECT_EQ(broken(layout, [](Sample&) {}), "no error") << "a sound sample was refused";
}

TEST(Checkpoint, planes_are_those_of_the_file) {
  TempDir dir;
  Sample sample;
  sample.compressed_tensors(true);
  sample.write(dir.path());
  const auto checkpoint = Checkpoint::open(dir.path());
  EXPECT_EQ(checkpoint.layout(), Layout::compressed_tensors);
  EXPECT_EQ(checkpoint.tensors().size(), 12u);
  const Tensor* tensor = checkpoint.find(q + ".weight");
  ASSERT_TRUE(tensor != nullptr && tensor->planes);
  EXPECT_EQ(bytes_of(tensor->planes->codes), sample.tensors[q + ".weight_packed"].bytes);
  EXPECT_EQ(bytes_of(tensor->planes->scales), sample.tensors[q + ".weight_scale"].bytes);
  EXPECT_TRUE(tensor->planes->global.divides);
  EXPECT_EQ(float_bytes(tensor->planes->global.value), sample.tensors[q + ".weight_global_scale"].bytes);
  EXPECT_EQ(tensor->planes->global.factor(), 1.0F / tensor->planes->global.value);
  ASSERT_TRUE(tensor->planes->input);
  EXPECT_EQ(float_bytes(tensor->planes->input->value), sample.tensors[q + ".input_global_scale"].bytes);
  EXPECT_THAT(checkpoint.notes(), testing::ElementsAre(HasSubstr("W4A4")));
  std::uint64_t bytes = 0;
  for (const auto& [name, stored] : sample.tensors) bytes += stored.bytes.size();
  EXPECT_EQ(checkpoint.tensor_bytes(), bytes);
}

TEST(Checkpoint, hi_and_lo_planes) {
  TempDir dir;
  Sample sample;
  sample.tetrad(true);
  sample.write(dir.path());
  const auto checkpoint = Checkpoint::open(dir.path());
  EXPECT_EQ(bytes_of(checkpoint.find(q + ".weight")->planes->lo_codes),
            sample.tensors[q + ".weight.lo_codes"].bytes);
  EXPECT_THAT(describe(*checkpoint.find(q + ".weight")), "NVFP4 hi+lo [32, 32]");
}

TEST(Checkpoint, missing_and_extra_parts) {
  struct Case {
    void (*layout)(Sample&);
    const char* part;
    const char* says;
  };
  for (const Case& c :
       {Case{ct, ".weight_scale", "has no block scales"},
        Case{ct, ".weight_global_scale", "has no global scale"}, Case{ct, ".weight_packed", "without codes"},
        Case{ct_w4a4, ".input_global_scale",
             "'model.layers.0.self_attn.q_proj.input_global_scale' is missing"},
        Case{mo, ".weight_scale", "has no block scales"}, Case{mo, ".weight_scale_2", "has no global scale"},
        Case{mo, ".weight", "without codes"},
        Case{mo_w4a4, ".input_scale", "'model.layers.0.self_attn.q_proj.input_scale' is missing"},
        Case{planes, ".weight.scales", "has no block scales"},
        Case{planes, ".weight.decode_scale", "has no global scale"},
        Case{planes, ".weight.codes", "without codes"}}) {
    EXPECT_THAT(broken(c.layout, [&](Sample& s) { ASSERT_EQ(s.tensors.erase(q + c.part), 1u); }),
                AllOf(HasSubstr("[checkpoint]"), HasSubstr(c.says), HasSubstr(q)));
  }
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.tensors[q + ".input_global_scale"] = {"F32", {1}, float_bytes(1)};
                     }),
              HasSubstr("says that activations are not quantised, but"));
  EXPECT_THAT(broken(mo,
                     [](Sample& s) {
                       s.tensors[q + ".input_scale"] = {"F32", {}, float_bytes(1)};
                     }),
              HasSubstr("says that activations are not quantised, but"));
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.dense(q + ".weight", {32, 32});
                     }),
              HasSubstr("one of them is extra"));
  EXPECT_THAT(broken(planes,
                     [](Sample& s) {
                       s.tensors[q + ".weight.encode_scale"] = {"F32", {}, float_bytes(1)};
                     }),
              HasSubstr("say the same thing twice"));
}

TEST(Checkpoint, mixed_layouts) {
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.tensors[q + ".weight_scale_2"] = {"F32", {}, float_bytes(1)};
                     }),
              HasSubstr("is of the modelopt layout, but the checkpoint is compressed-tensors"));
  EXPECT_THAT(broken(mo,
                     [](Sample& s) {
                       s.tensors[q + ".weight_global_scale"] = {"F32", {}, float_bytes(1)};
                     }),
              HasSubstr("is of the compressed-tensors layout, but the checkpoint is modelopt"));
  EXPECT_THAT(broken(planes,
                     [](Sample& s) {
                       s.tensors[q + ".weight_packed"] = {"U8", {32, 16}, s.codes(32, 32)};
                     }),
              HasSubstr("is of the compressed-tensors layout, but the checkpoint is tetrad"));
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.tensors["model.layers.0.mlp.x.weight"] = {"U8", {32, 16}, s.codes(32, 32)};
                     }),
              HasSubstr("packed codes as ModelOpt stores them"));
  for (auto* layout : {ct, mo, planes}) {
    EXPECT_THAT(broken(layout, [](Sample& s) { s.config.erase("quantization_config"); }),
                HasSubstr("no quantization_config"));
  }
  // What the config calls quantised must be: other programs rely on it.
  EXPECT_THAT(
      broken(ct, [](Sample& s) { s.config["quantization_config"]["ignore"] = nlohmann::json::array(); }),
      AllOf(HasSubstr("'lm_head.weight'"), HasSubstr("calls it quantised")));
  EXPECT_THAT(
      broken(ct, [](Sample& s) { s.config["quantization_config"]["ignore"].push_back("re:.*q_proj"); }),
      AllOf(HasSubstr(q), HasSubstr("stored quantised, but 'ignore'")));
}

TEST(Checkpoint, global_scales) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {0.0F, -0.0F, -1.0F, infinity, -infinity, std::nanf(""), 1e-39F}) {
    EXPECT_THAT(
        broken(ct, [&](Sample& s) { s.tensors[q + ".weight_global_scale"].bytes = float_bytes(bad); }),
        HasSubstr("a scale is a positive, finite number"))
        << bad;
    if (bad > 0 && bad < 1) continue;  // only its reciprocal overflows
    EXPECT_THAT(
        broken(mo_w4a4, [&](Sample& s) { s.tensors[q + ".weight_scale_2"].bytes = float_bytes(bad); }),
        HasSubstr("a scale is a positive, finite number"))
        << bad;
    EXPECT_THAT(broken(mo_w4a4, [&](Sample& s) { s.tensors[q + ".input_scale"].bytes = float_bytes(bad); }),
                HasSubstr("input_scale' is"))
        << bad;
    EXPECT_THAT(
        broken(planes, [&](Sample& s) { s.tensors[q + ".weight.decode_scale"].bytes = float_bytes(bad); }),
        HasSubstr("a scale is a positive, finite number"))
        << bad;
  }
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.tensors[q + ".weight_global_scale"] = {"F32", {2}, float_bytes(1) + float_bytes(1)};
                     }),
              HasSubstr("not one F32 number"));
  EXPECT_THAT(broken(mo,
                     [](Sample& s) {
                       s.tensors[q + ".weight_scale_2"] = {"BF16", {}, "\x80\x3f"};
                     }),
              HasSubstr("not one F32 number"));
}

TEST(Checkpoint, block_scales) {
  for (const unsigned bad : {0x7Fu, 0xFFu, 0x80u, 0xB8u}) {
    const std::string text = broken(
        mo, [&](Sample& s) { s.tensors[q + ".weight_scale"].bytes[2 * 7 + 1] = static_cast<char>(bad); });
    EXPECT_THAT(text, AllOf(HasSubstr("row 7, columns 16 to 31"),
                            HasSubstr((bad & 0x7F) == 0x7F ? "NaN" : "negative")));
  }
  EXPECT_EQ(broken(mo, [](Sample& s) { s.tensors[q + ".weight_scale"].bytes[5] = '\0'; }), "no error")
      << "zero is a scale";
  EXPECT_EQ(broken(mo, [](Sample& s) { s.tensors[q + ".weight_scale"].bytes[5] = '\x7E'; }), "no error")
      << "448 is a scale";
}

TEST(Checkpoint, shapes_and_types) {
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.tensors[q + ".weight_scale"] = {"F8_E4M3", {32, 1}, std::string(32, 1)};
                     }),
              HasSubstr("groups of 32 in rows of 32; NVFP4 has groups of 16"));
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.tensors[q + ".weight_scale"] = {"F8_E4M3", {16, 4}, std::string(64, 1)};
                     }),
              HasSubstr("not F8_E4M3 [32, 2]"));
  EXPECT_THAT(broken(ct, [](Sample& s) { s.tensors[q + ".weight_scale"].dtype = "U8"; }),
              HasSubstr("not F8_E4M3 [32, 2]"));
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.tensors[q + ".weight_packed"] = {"U8", {32, 12}, std::string(384, 1)};
                     }),
              HasSubstr("has 24 columns, no multiple of 16"));
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.tensors[q + ".weight_packed"] = {"U8", {512}, std::string(512, 1)};
                     }),
              HasSubstr("not U8 [rows, columns / 2]"));
  EXPECT_THAT(broken(ct, [](Sample& s) { s.tensors[q + ".weight_packed"].dtype = "I8"; }),
              HasSubstr("not U8 [rows, columns / 2]"));
  EXPECT_THAT(broken(ct,
                     [](Sample& s) {
                       s.config["num_attention_heads"] = 1;
                       s.config["head_dim"] = 16;
                     }),
              AllOf(HasSubstr("of a wrong shape"), HasSubstr(q)));
  EXPECT_THAT(broken(mo,
                     [](Sample& s) {
                       s.tensors[q + ".pre_quant_scale"] = {"BF16", {32}, std::string(64, 1)};
                     }),
              HasSubstr("AWQ"));
}

TEST(Checkpoint, tied_heads_stored_twice) {
  const auto tie = [](Sample& s) { s.config["tie_word_embeddings"] = true; };
  EXPECT_THAT(broken(ct, tie),
              HasSubstr("lm_head.weight is stored beside model.embed_tokens.weight and differs"));
  EXPECT_EQ(broken(ct,
                   [&](Sample& s) {
                     tie(s);
                     s.tensors["lm_head.weight"] = s.tensors["model.embed_tokens.weight"];
                   }),
            "no error");
  EXPECT_THAT(broken(planes,
                     [&](Sample& s) {
                       tie(s);
                       s.tensors.erase("lm_head.weight");
                       s.tensors["lm_head.weight.codes"] = {"U8", {5, 16}, s.codes(5, 32)};
                       s.tensors["lm_head.weight.scales"] = {"F8_E4M3", {5, 2}, s.scales(5, 32)};
                       s.tensors["lm_head.weight.decode_scale"] = {"F32", {}, float_bytes(1)};
                     }),
              HasSubstr("one of them is quantised"));
}

TEST(Checkpoint, all_complaints_at_once) {
  const std::string text = broken(ct, [](Sample& s) {
    s.tensors.erase(q + ".weight_scale");
    s.tensors["model.layers.0.mlp.up_proj.weight_global_scale"].bytes = float_bytes(0);
    s.tensors["x.weight_scale"] = {"F8_E4M3", {1, 1}, "1"};
  });
  EXPECT_THAT(text,
              AllOf(HasSubstr("q_proj"), HasSubstr("up_proj"), HasSubstr("'x.weight_scale' without codes")));
}

TEST(Checkpoint, a_single_file_needs_a_config) {
  TempDir dir;
  test::write_text(dir / "w.dat", "x");
  EXPECT_THAT(error_text([&] { config_directory(dir / "w.dat", std::nullopt); }), HasSubstr("--config-from"));
  EXPECT_EQ(config_directory(dir / "w.dat", dir.path()), dir.path());
  EXPECT_EQ(config_directory(dir.path(), std::nullopt), dir.path());
}

}  // namespace
}  // namespace tetrad::checkpoint
