// What the user of a good model can do wrong: prompts, plugins, places for results, and a model that
// collapses.
#include "engine_place.h"

#include <fstream>

namespace tetrad::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

const std::string crash = "error: [crash] signal 11 (SIGSEGV)";

Result logits(const EnginePlace& place, const std::vector<std::string>& more) {
  return EnginePlace::run({"logits", "--config", place.config(), "--out", place.path("x.safetensors")}, more);
}

// --- prompts ---

TEST(Prompts, InvalidUtf8) {
  const EnginePlace place;
  place.write("latin1.txt", "caf\xE9");
  expect_refused(logits(place, {"--prompt-file", place.path("latin1.txt")}), 2,
                 {"not valid UTF-8 at byte 3"});
  EXPECT_FALSE(fs::exists(place.path("x.safetensors")));
  const Result chat = EnginePlace::run({"chat", "--config", place.config()}, {}, "caf\xE9\n");
  EXPECT_EQ(chat.exit_code, 2) << chat.err;
  EXPECT_THAT(chat.err, HasSubstr("not valid UTF-8 at byte 3"));
}

TEST(Prompts, NulIsACharacterLikeAnyOther) {
  const EnginePlace place;
  place.write("nul.txt", std::string("a\0b", 3));
  const Result file = logits(place, {"--prompt-file", place.path("nul.txt"), "--raw"});
  EXPECT_EQ(file.exit_code, 0) << file.err;
  EXPECT_THAT(file.err, HasSubstr("3 positions"));
  const Result chat = EnginePlace::run({"chat", "--config", place.config()}, {}, std::string("a\0b\n", 4));
  EXPECT_EQ(chat.exit_code, 0) << chat.err;
  EXPECT_THAT(chat.err, HasSubstr("prefill=22 tok"));
}

TEST(Prompts, OnlySpecialTokensAndNothing) {
  const EnginePlace place;
  EXPECT_EQ(place.generate({}, "<|im_end|><|im_start|><|endoftext|>").exit_code, 0);
  EXPECT_EQ(place.generate({"--raw"}, "<|endoftext|>").exit_code, 0);
  EXPECT_EQ(place.generate({}, "").exit_code, 0) << "an empty message still has the template around it";
  expect_refused(place.generate({"--raw"}, ""), 2, {"no tokens"});
  place.write("empty.txt", "");
  expect_refused(logits(place, {"--prompt-file", place.path("empty.txt"), "--raw"}), 2,
                 {"the prompt has no tokens"});
}

TEST(Prompts, TooLongForTheContext) {
  const EnginePlace place;
  expect_refused(
      place.generate({}, std::string(300, 'x')), 2,
      {"[context] 0 tokens of history + 319 of this prompt + max_tokens 4 + 2 to close the turn = 325 > "
       "context limit of 256"});
  expect_refused(place.generate({"--set", "chat.max_tokens=300"}), 2,
                 {"max_tokens 300", "> context limit of 256"});
  expect_refused(place.generate({"--set", "model.max_context=10"}), 2, {"> context limit of 10"});
  expect_refused(place.generate({"--set", "model.max_context=257"}), 2,
                 {"model.max_context 257 is beyond the 256 positions"});
  expect_refused(logits(place, {"--prompt", std::string(257, 'x'), "--raw"}), 2,
                 {"257 new ones > limit of 256"});
  EXPECT_FALSE(fs::exists(place.path("x.safetensors")));
  const Result chat =
      EnginePlace::run({"chat", "--config", place.config()}, {}, "short\n" + std::string(300, 'x') + "\n");
  EXPECT_EQ(chat.exit_code, 2) << chat.err;
  EXPECT_THAT(chat.err, HasSubstr("turn=1")) << "the first turn was answered";
}

TEST(Prompts, AMegabyte) {
  const EnginePlace place;
  place.write("long.txt", std::string(1 << 20, 'x'));
  expect_refused(logits(place, {"--prompt-file", place.path("long.txt")}), 2,
                 {"1048595 new ones > limit of 256"});
  const Result piped =
      EnginePlace::shell("host chat --config '" + place.config() + "' < '" + place.path("long.txt") + "'");
  EXPECT_EQ(piped.exit_code, 2) << piped.err;
  EXPECT_THAT(piped.err, HasSubstr("1048595 of this prompt"));
}

TEST(Prompts, AnEndlessPromptFileIsRefused) {
  const EnginePlace place;
  const Result result = logits(place, {"--prompt-file", "/dev/zero"});
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr("/dev/zero"));
}

TEST(Prompts, IdsOutsideTheVocabulary) {
  const EnginePlace place;
  expect_refused(logits(place, {"--ids", "1,264"}), 2, {"id 264 is outside the vocabulary of 264"});
  EXPECT_EQ(logits(place, {"--ids", "1,263"}).exit_code, 0) << "the embedding has rows beyond the tokenizer";
}

TEST(Prompts, ATextThatIsTooShortToPredict) {
  const EnginePlace place;
  place.write("one.txt", "x");
  expect_refused(EnginePlace::run({"eval", "--config", place.config(), "--text", place.path("one.txt")}), 2,
                 {"fewer than two tokens"});
  place.write("ten.txt", "0123456789");
  expect_config_error(EnginePlace::run({"eval", "--config", place.config(), "--text", place.path("ten.txt")},
                                       {"--set", "eval.window=4", "--set", "eval.stride=5"}),
                      2, {"eval.stride"});
}

// --- plugins ---

std::string fixture(const std::string& id) {
  return TETRAD_BINARY_DIR "/tests/plugins/" + id + "/" + id + ".so";
}

TEST(Plugins, FilesThatAreNoPluginsForThisHost) {
  const EnginePlace place;
  place.write("text.so", "not a library");
  const auto linear = [&](const std::string& file) {
    return place.generate({"--set", "linear.plugin=" + file});
  };
  expect_config_error(linear("no-such-backend"), 3, {"no-such-backend"});
  expect_config_error(linear(place.path("text.so")), 3, {"not an ELF file"});
  expect_config_error(linear(place.path("none.so")), 3, {"none.so"});
  expect_config_error(linear(fixture("no-note")), 3, {"not a Tetrad plugin"});
  expect_config_error(linear(fixture("wrong-hash")), 3, {"SDK interface hash"});
  expect_config_error(linear(fixture("wrong-torch")), 3, {"libtorch 2.12.0 != host"});
  expect_config_error(linear("kvc-persistent"), 3, {"kvc-persistent"});
  expect_config_error(linear(fixture("good")), 3, {"linear"});
  std::string library = test::read_all(TETRAD_BINARY_DIR "/lib/tetrad/plugins/backend-bf16.so");
  library.resize(library.size() / 2);
  place.write("cut.so", library);
  expect_config_error(linear(place.path("cut.so")), 3, {"truncated"});
}

struct Failure {
  std::string how;
  int code;
  std::string message;
};

TEST(Plugins, WhateverFailsInAPluginIsOneLineThatNamesIt) {
  const EnginePlace place;
  const std::string in = " while in plugin 'misbehaving', function ";
  const std::vector<Failure> table = {
      {"segv-create", 139, crash + in + "'create'"},
      {"segv-configure", 139, crash + in + "'configure'"},
      {"segv-prepare", 139, crash + in + "'prepare'"},
      {"segv-forward", 139, crash + in + "'forward'"},
      {"abort-gather", 134, "error: [crash] signal 6 (SIGABRT)" + in + "'gather'"},
      {"throw-forward", 134,
       "error: [crash] terminated" + in +
           "'forward'\n  by an exception that nobody caught: an exception where none may be"},
      {"worker-forward", 139,
       crash + ", outside of any plugin; another thread is in plugin 'misbehaving', function 'forward'"},
      {"exit-forward", 7, "ended"},
      {"throw-create", 1, "no wish to exist"},
      {"status-forward", 1,
       "[misbehaving] forward of model.layers.0.self_attn.q_proj.weight: no memory for the product"},
      {"too-few", 1,
       "[misbehaving] forward of model.layers.0.self_attn.q_proj.weight: 2 results for 3 weights; the plugin "
       "broke its contract"},
      {"undefined", 1, "no result for model.layers.0.self_attn.v_proj.weight; the plugin broke its contract"},
      {"wrong-shape", 1,
       "a result of [21, 1] instead of [21, 32] for model.layers.0.self_attn.v_proj.weight; the plugin broke "
       "its contract"},
      {"wrong-rows", 1, "a result of [0, 32] instead of [21, 32] for model.layers.0.self_attn.v_proj.weight"},
      {"unsupported", 3, "[misbehaving] cannot run here: there is no abacus in this machine; buy one"},
  };
  for (const Failure& failure : table) {
    const Result result =
        place.generate({"--set", "linear.plugin=misbehaving", "--set", "linear.options.how=" + failure.how});
    EXPECT_EQ(result.exit_code, failure.code) << failure.how << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr(failure.message)) << failure.how;
    EXPECT_EQ(result.out, "") << failure.how;
  }
  EXPECT_EQ(place.generate({"--set", "linear.plugin=misbehaving"}).exit_code, 0)
      << "the fixture itself works";
}

TEST(Plugins, OptionsAreCheckedBeforeAnythingStarts) {
  const EnginePlace place;
  const auto with = [&](const std::string& option) {
    return place.generate({"--set", "linear.plugin=misbehaving", "--set", "linear.options." + option});
  };
  for (const char* bad : {"how=often", "how=3", "hwo=not"}) {
    const Result result = with(bad);
    EXPECT_EQ(result.exit_code, 2) << bad;
    EXPECT_THAT(result.err, Not(HasSubstr("[run]"))) << bad;
  }
  EXPECT_THAT(with("hwo=not").err, HasSubstr("did you mean 'linear.options.how'?"));
}

// --- configs ---

TEST(Configs, ThePinnedPathHasAWayOut) {
  const EnginePlace place;
  const Result result =
      EnginePlace::run({"generate", "--config", TETRAD_SOURCE_DIR "/configs/fp2-model.yaml", "--prompt", "Hi",
                        "--set", "path=bridge", "--set", "model.path=" + place.model().string()});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("this config is training-path only; use configs/bridge.yaml"));
}

TEST(Configs, MistakesAreFoundBeforeTheModelIsLoaded) {
  const EnginePlace place;
  const std::string good = test::read_all(place.config());
  const auto with = [&](const std::string& more, const std::string& message) {
    place.write("c.yaml", good + more);
    const Result result = place.generate();
    EXPECT_EQ(result.exit_code, 2) << more;
    EXPECT_THAT(result.err, HasSubstr(message)) << more;
    EXPECT_THAT(result.err, HasSubstr("c.yaml:")) << more;
    EXPECT_THAT(result.err, Not(HasSubstr("[run]"))) << more;
  };
  with("caht: {turns: 2}\n", "did you mean 'chat'?");
  with("chat: {turns: 2}\n", "chat");
  with("eval: {window: many}\n", "window");
  with("eval: {window: 010}\n", "010");
  with("eval: {window: 0}\n", "window");
  with("eval: [1]\n", "eval");
  with("eval: {\n", "c.yaml:");
}

// --- results ---

TEST(Results, AFullDiskLeavesNothingBehind) {
  const EnginePlace place;
  // A limit on the size of files stands in for the disk; its signal is ignored, as a full disk sends none.
  const std::string full = "trap '' XFSZ; ulimit -f 1; ";
  const Result result =
      EnginePlace::shell(full + "host logits --config '" + place.config() + "' --prompt '" +
                         std::string(20, 'x') + "' --out '" + place.path("x.safetensors") + "'");
  expect_refused(result, 1, {"x.safetensors", "File too large"});
  for (const auto& entry : fs::directory_iterator(fs::path(place.config()).parent_path()))
    EXPECT_THAT(entry.path().filename().string(), AnyOf("c.yaml", "model"));
}

TEST(Results, StandardOutputThatIsFull) {
  const EnginePlace place;
  for (const char* more : {" --json", ""}) {
    const Result result = EnginePlace::shell("host generate --config '" + place.config() + "' --prompt Hi" +
                                             more + " > /dev/full");
    expect_refused(result, 1, {"could not be written to standard output", "No space left on device"});
  }
  const Result chat = EnginePlace::shell("echo Hi | host chat --config '" + place.config() + "' > /dev/full");
  EXPECT_EQ(chat.exit_code, 1) << chat.err;
  place.write("text.txt", "some text");
  const Result eval = EnginePlace::shell("host eval --config '" + place.config() + "' --text '" +
                                         place.path("text.txt") + "' > /dev/full");
  EXPECT_EQ(eval.exit_code, 1) << eval.err;
}

TEST(Results, PlacesThatCannotBeWritten) {
  const EnginePlace place;
  const auto out = [&](const std::string& file) {
    return EnginePlace::run({"logits", "--config", place.config(), "--prompt", "Hi", "--out", file});
  };
  const Result kernel = out("/proc/x.safetensors");  // root may write there, until it tries
  EXPECT_TRUE(kernel.exit_code == 1 || kernel.exit_code == 2) << kernel.err;
  EXPECT_THAT(kernel.err, HasSubstr("/proc"));
  EXPECT_EQ(error_lines(kernel).size(), 1U);
  expect_refused(out("/dev/null"), 1, {"/dev/null: exists and is not a regular file"});
  EXPECT_FALSE(fs::is_regular_file("/dev/null"));
  expect_refused(out(place.path("none/x.safetensors")), 2, {"cannot be written to"});
}

TEST(Results, ARunsFolderThatCannotBeMade) {
  const EnginePlace place;
  place.write("file", "");
  for (const std::string& folder : {place.path("file/runs"), std::string("/proc/runs")}) {
    const Result result = place.generate({"--set", "run.dir=" + folder});
    expect_refused(result, 1, {"[run] cannot store this run in"});
    EXPECT_THAT(result.err, Not(HasSubstr("backend="))) << "nothing was loaded";
  }
}

// --- numerics ---

// A model whose logits are all equal says token 0 for ever.
void make_it_repeat(const EnginePlace& place) {
  auto weights = test::tiny_weights(test::tiny_config());
  for (float& w : weights.at("model.norm.weight").values) w = 0.0F;
  test::write_weights(place.model_file(), weights);
}

TEST(Numerics, ACollapseEndsFp2ModelWithExitCode4) {
  const EnginePlace place;
  make_it_repeat(place);
  const std::vector<std::string> settings = {"--prompt", "Hi",
                                             "--set",    "model.path=" + place.model().string(),
                                             "--set",    "run.dir=null",
                                             "--set",    "chat.max_tokens=60",
                                             "--set",    "model.device=cpu"};
  const auto with = [&](const std::string& config) {
    return EnginePlace::run({"generate", "--config", TETRAD_SOURCE_DIR "/configs/" + config}, settings);
  };
  const Result stopped = with("fp2-model.yaml");
  EXPECT_EQ(stopped.exit_code, 4) << stopped.err;
  EXPECT_THAT(error_lines(stopped),
              testing::ElementsAre("error: [collapse] the model repeats the same token 24 times in a row"));
  for (const char* other : {"bf16.yaml", "bridge.yaml"}) {
    const Result flagged = with(other);
    EXPECT_EQ(flagged.exit_code, 0) << flagged.err;
    EXPECT_THAT(flagged.err, HasSubstr("warning: [collapse] the model repeats the same token"));
    EXPECT_TRUE(error_lines(flagged).empty());
  }
}

TEST(Numerics, TheShippedConfigsRunTheTinyModel) {
  const EnginePlace place;
  for (const char* config : {"fp2-model.yaml", "bridge.yaml", "bf16.yaml"}) {
    const Result result =
        EnginePlace::run({"generate", "--config", std::string(TETRAD_SOURCE_DIR "/configs/") + config,
                          "--prompt", "Hi", "--json", "--set", "model.path=" + place.model().string(),
                          "--set", "run.dir=" + place.path("runs"), "--set", "chat.max_tokens=5"});
    ASSERT_EQ(result.exit_code, 0) << config << ": " << result.err;
    const json record = json::parse(result.out);
    EXPECT_EQ(record["kv"]["seq_len"], record["kv"]["context_tokens"]);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(place.path("runs")), fs::directory_iterator{}), 3);
}

TEST(Numerics, TheDefaultModelKnowsTheCapitalOfFrance) {
  const fs::path model = TETRAD_SOURCE_DIR "/models/default";
  if (!fs::exists(model / "model.safetensors"))
    GTEST_SKIP() << "models/default is not there; `make model` makes it";
  const Result result =
      EnginePlace::run({"generate", "--config", TETRAD_SOURCE_DIR "/configs/fp2-model.yaml", "--prompt",
                        "What is the capital of France?", "--json", "--set", "model.path=" + model.string(),
                        "--set", "run.dir=null", "--set", "chat.max_tokens=12", "--set", "model.device=cpu"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(json::parse(result.out)["text"].get<std::string>(), HasSubstr("Paris"));
}

}  // namespace
}  // namespace tetrad::e2e
