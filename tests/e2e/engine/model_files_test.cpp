// Every way in which a model directory can be broken, through the real engine: one clear error and the
// documented exit code, before a token is computed. The parsers' own tests (tests/unit, tests/fuzz) hold the
// finer cases; here stands what a person sees.
#include "engine_place.h"

#include <fstream>
#include <limits>

namespace tetrad::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Weights;
using testing::HasSubstr;
using Files = std::map<std::string, Weights>;

// The model's own tensors, changed.
template <class Change>
Result with_weights(const Change& change, io::DType dtype = io::DType::f32,
                    const std::vector<std::string>& more = {}, const json& config = test::tiny_config()) {
  const EnginePlace place(config);
  Files files = test::tiny_weights(config);
  change(files);
  test::write_weights(place.model_file(), files, dtype);
  return place.generate(more);
}

// One file of the model, rewritten from its text.
template <class Change>
Result with_file(const std::string& name, const Change& change) {
  const EnginePlace place;
  std::string text = test::read_all(place.model_file(name));
  change(text);
  place.write("model/" + name, text);
  return place.generate();
}

std::string json_with(const std::string& text, const json& patch) {
  json document = json::parse(text);
  document.merge_patch(patch);
  return document.dump();
}

TEST(ModelFiles, TheTinyModelItselfRuns) {
  const EnginePlace place;
  const Result result = place.generate();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(json::parse(result.out)["output_ids"].size(), 4U);
}

TEST(ModelFiles, DamagedSafetensors) {
  expect_refused(with_file("model.safetensors", [](std::string& bytes) { bytes.resize(bytes.size() / 2); }),
                 1, {"[safetensors]", "model.safetensors", "fetch it again"});
  expect_refused(with_file("model.safetensors", [](std::string& bytes) { bytes.resize(5); }), 1,
                 {"5 bytes are too few"});
  expect_refused(with_file("model.safetensors", [](std::string& bytes) { bytes.clear(); }), 1,
                 {"[safetensors]"});
  expect_refused(with_file("model.safetensors", [](std::string& bytes) { bytes += "more"; }), 1,
                 {"4 bytes follow the last tensor"});
  expect_refused(with_file("model.safetensors", [](std::string& bytes) { bytes[7] = '\x7f'; }), 1,
                 {"more than the 100000000 that the format allows"});
  // Both tensors of 32 floats claim the first one's place.
  expect_refused(with_file("model.safetensors",
                           [](std::string& bytes) {
                             const std::string here = "\"data_offsets\":[";
                             const std::size_t first = bytes.find(here) + here.size();
                             const std::size_t second = bytes.find(here, first) + here.size();
                             const std::string offsets = bytes.substr(first, bytes.find(']', first) - first);
                             const std::size_t length = bytes.find(']', second) - second;
                             ASSERT_LE(offsets.size(), length);
                             bytes.replace(second, length,
                                           offsets + std::string(length - offsets.size(), ' '));
                           }),
                 1, {"[safetensors]"});
  expect_refused(with_file("model.safetensors",
                           [](std::string& bytes) { bytes.replace(bytes.find("\"F32\""), 5, "\"I32\""); }),
                 1, {"of a wrong type", "is I32, not F32, BF16 or F16"});
  expect_refused(
      with_file("model.safetensors",
                [](std::string& bytes) { bytes.replace(bytes.find("\"F32\""), 5, "\"F\x1b\x33\""); }),
      1, {"[json]"});
}

TEST(ModelFiles, WeightsOfAnotherModel) {
  expect_refused(with_weights([](Files& files) { files.erase("model.layers.1.mlp.up_proj.weight"); }), 1,
                 {"[model]", "1 missing", "model.layers.1.mlp.up_proj.weight [48, 32]"});
  expect_refused(with_weights([](Files& files) {
                   files["model.layers.0.extra.weight"] = {{1}, {1}};
                 }),
                 1, {"1 not part of the model", "model.layers.0.extra.weight F32 [1]"});
  expect_refused(with_weights([](Files& files) {
                   std::swap(files["lm_head.weight"].shape[0], files["lm_head.weight"].shape[1]);
                 }),
                 1, {"1 of a wrong shape", "lm_head.weight is [32, 264], config.json asks for [264, 32]"});
  expect_refused(with_weights([](Files& files) { files["bad\x01name"] = {{1}, {1}}; }), 1, {"bad\\x01name"});
  json tied = test::tiny_config();
  tied["tie_word_embeddings"] = true;
  expect_refused(with_weights(
                     [](Files& files) {
                       files["lm_head.weight"] = files["model.embed_tokens.weight"];
                       files["lm_head.weight"].values[0] += 1;
                     },
                     io::DType::f32, {}, tied),
                 1, {"tie_word_embeddings"});
}

TEST(ModelFiles, AShardIndexStaysInItsFolder) {
  const EnginePlace place;
  fs::rename(place.model_file(), place.path("outside.safetensors"));
  const auto index = [&](const std::string& file) {
    json map = json::object();
    for (const auto& [name, ignored] : test::tiny_weights(test::tiny_config())) map[name] = file;
    place.write("model/model.safetensors.index.json", json{{"weight_map", map}}.dump());
  };
  index("../outside.safetensors");
  expect_refused(place.generate(), 1, {"'../outside.safetensors' is refused", "leaves the model directory"});
  index(place.path("outside.safetensors"));
  expect_refused(place.generate(), 1, {"an absolute path leaves the model directory"});
  fs::create_symlink("../outside.safetensors", place.model_file("link.safetensors"));
  index("link.safetensors");
  expect_refused(place.generate(), 1, {"it is a link to", "outside the model directory"});
  index("missing.safetensors");
  expect_refused(place.generate(), 1, {"missing.safetensors"});
  place.write("model/model.safetensors.index.json", "{\"weight_map\": ");
  expect_refused(place.generate(), 1, {"model.safetensors.index.json", "line 1"});
  // The same file inside the folder is fine.
  fs::remove(place.model_file("link.safetensors"));
  fs::rename(place.path("outside.safetensors"), place.model_file("part.safetensors"));
  index("part.safetensors");
  EXPECT_EQ(place.generate().exit_code, 0);
}

TEST(ModelFiles, NoModelAtAll) {
  const EnginePlace place;
  fs::remove(place.model_file());
  expect_refused(place.generate(), 1, {"no model.safetensors"});
  fs::create_directory(place.model_file());
  expect_refused(place.generate(), 1, {"not a regular file"});
  const Result missing = place.generate({"--set", "model.path=" + place.path("nowhere")});
  EXPECT_TRUE(missing.exit_code == 1 || missing.exit_code == 2) << missing.exit_code;
  EXPECT_THAT(missing.err, HasSubstr("nowhere"));
}

TEST(ModelFiles, BrokenConfigJson) {
  const auto patched = [](const json& patch) {
    return with_file("config.json", [&](std::string& text) { text = json_with(text, patch); });
  };
  expect_refused(with_file("config.json", [](std::string& text) { text.resize(text.size() / 2); }), 1,
                 {"config.json", "line "});
  expect_refused(with_file("config.json", [](std::string& text) { text = "[]"; }), 1, {"config.json"});
  expect_refused(with_file("config.json", [](std::string& text) { text.insert(1, "\"vocab_size\": 1,"); }), 1,
                 {"duplicate key 'vocab_size'"});
  expect_refused(with_file("config.json", [](std::string& text) { text.insert(1, "\"a\": \"\xff\","); }), 1,
                 {"config.json"});
  expect_refused(patched({{"model_type", "gpt2"}, {"architectures", {"GPT2LMHeadModel"}}}), 1,
                 {"GPT2LMHeadModel"});
  expect_refused(patched({{"num_key_value_heads", 3}}), 1, {"num_key_value_heads"});
  expect_refused(patched({{"hidden_size", "32"}}), 1, {"hidden_size"});
  expect_refused(patched({{"num_hidden_layers", 1e9}}), 1, {"num_hidden_layers"});
  expect_refused(patched({{"head_dim", 15}}), 1, {"head_dim"});
  expect_refused(patched({{"rms_norm_eps", nullptr}}), 1, {"rms_norm_eps"});
  expect_refused(patched({{"quantization_config", {{"quant_method", "awq"}}}}), 1, {"quantization_config"});
  expect_refused(patched({{"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}}}), 1, {"dynamic"});
  expect_refused(with_file("generation_config.json", [](std::string& text) { text = "{"; }), 1,
                 {"generation_config.json"});
  expect_refused(
      with_file("generation_config.json", [](std::string& text) { text = R"({"eos_token_id": "2"})"; }), 1,
      {"generation_config.json", "eos_token_id"});
}

TEST(ModelFiles, BrokenTokenizer) {
  expect_refused(with_file("tokenizer.json", [](std::string& text) { text.resize(text.size() / 2); }), 1,
                 {"tokenizer.json", "not valid JSON"});
  expect_refused(with_file("tokenizer.json", [](std::string& text) { text = "\xff\xfe"; }), 1,
                 {"tokenizer.json"});
  expect_refused(with_file("tokenizer.json",
                           [](std::string& text) {
                             text = json_with(text, {{"model", {{"type", "WordPiece"}}}});
                           }),
                 1, {"tokenizer.json", "WordPiece"});
  expect_refused(with_file("tokenizer.json",
                           [](std::string& text) {
                             text = json_with(text, {{"model", {{"merges", {"a b"}}}}});
                           }),
                 1, {"tokenizer.json", "merges"});
  json smaller = test::tiny_config();
  smaller["vocab_size"] = 250;
  smaller["bos_token_id"] = smaller["eos_token_id"] = 7;
  expect_refused(with_weights([](Files&) {}, io::DType::f32, {}, smaller), 1,
                 {"the tokenizer has 259 entries, the model's embedding only 250"});
  const EnginePlace place;
  fs::remove(place.model_file("tokenizer.json"));
  expect_refused(place.generate(), 1, {"tokenizer.json"});
}

TEST(ModelFiles, BrokenChatTemplate) {
  const auto with_template = [](const std::string& source) {
    const EnginePlace place;
    place.write("model/chat_template.jinja", source);
    return place.generate();
  };
  expect_refused(with_template("{% for m in messages %}"), 1, {"chat_template.jinja:1"});
  expect_refused(with_template("\n\n{% include 'other' %}"), 1, {"chat_template.jinja:3"});
  expect_refused(with_template("{{ messages | frobnicate }}"), 1, {"frobnicate"});
  expect_refused(with_template("{{ raise_exception('not for you') }}"), 1, {"not for you"});
  expect_refused(with_template("{{ raise_exception('red \\x1b[31m') }}"), 1, {"chat_template.jinja:1"});
  expect_refused(
      with_template("{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}"), 1,
      {"chat_template.jinja"});
  expect_refused(with_template("{{ messages|length }}{% for m in messages %}{{ m.content }}{% endfor %}"), 1,
                 {"rewrites earlier turns"});
  expect_refused(with_template("\xff"), 1, {"not valid UTF-8"});
  expect_refused(
      with_file("tokenizer_config.json", [](std::string& text) { text = "{\"chat_template\": 3}"; }), 1,
      {"tokenizer_config.json", "chat_template"});
  expect_refused(with_file("tokenizer_config.json", [](std::string& text) { text = "{}"; }), 1, {"template"});
  // Without the template there is still the raw prompt.
  const EnginePlace place;
  place.write("model/tokenizer_config.json", "{}");
  EXPECT_EQ(place.generate({"--raw"}).exit_code, 0);
}

TEST(ModelFiles, NonFiniteWeightsAreExitCode4WithTheTensorsName) {
  const auto damage = [](float value) {
    return [value](Files& files) {
      std::vector<float>& weights = files["model.layers.1.mlp.gate_proj.weight"].values;
      for (std::size_t i = 0; i < weights.size(); i += 32) weights[i] = value;
    };
  };
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    expect_refused(with_weights(damage(value)), 4, {"non-finite", "layer 1, tensor 'gate_proj'"});
    // A backend that packs weights meets the value itself, and says which tensor it is.
    for (const char* path : {"training", "bridge"}) {
      expect_refused(
          with_weights(damage(value), io::DType::f32,
                       {"--set", "linear.plugin=backend-nvfp4", "--set", std::string("path=") + path}),
          4, {"gate_proj"});
    }
  }
}

}  // namespace
}  // namespace tetrad::e2e
