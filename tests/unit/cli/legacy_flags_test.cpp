// The predecessor's command lines: what each flag becomes, and that none is read and dropped.
#include "cli/host/legacy_flags.h"

#include "config/emit.h"
#include "config/resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tetrad/base/error.h>
#include <nlohmann/json.hpp>

#include <map>

namespace tetrad::cli {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

LegacyFlags take(const std::vector<std::string>& words, const LegacySituation& situation = {}) {
  return take_legacy_flags(words, situation);
}

std::string refusal(const std::vector<std::string>& words, const LegacySituation& situation = {}) {
  try {
    take(words, situation);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::usage);
    return e.what();
  }
  return "accepted";
}

const LegacySituation with_config{"run", true, false, {}};

TEST(LegacyFlags, EachFlagSetsItsKeyInBothSpellings) {
  const std::vector<std::tuple<std::string, std::string, std::string>> table = {
      {"--kvc-backend", "fp2-model", "path=training"},
      {"--kvc-backend", "bridge", "path=bridge"},
      {"--use-kvc", "false", "kv_cache.plugin=kvc-none"},
      {"--use-kvc", "true", "kv_cache.plugin=kvc-persistent"},
      {"--KVCacheOut", "no", "kv_cache.plugin=kvc-none"},
      {"--kvc-input-mode", "tbt", "model.prefill_chunk=1"},
      {"--model-dir", "a b", R"(model.path="a b")"},
      {"--weight", "w.safetensors", R"(model.weights="w.safetensors")"},
      {"--weight", "/m/Qwen3-nvfp4.dat", R"(model.weights="/m/Qwen3-nvfp4.dat")"},
      {"--quant", "fp4", "linear.plugin=backend-nvfp4"},
      {"--quant", "none", "linear.plugin=backend-bf16"},
      {"--dtype", "Float16", R"(model.dtype="float16")"},
      {"--device", "cuda:1", R"(model.device="cuda:1")"},
      {"--max-tokens", "24", "chat.max_tokens=24"},
      {"--temp", "0", "chat.temperature=0.0"},
      {"--top-p", "0.9", "chat.top_p=0.9"},
      {"--topp", "1", "chat.top_p=1.0"},
      {"--seed", "-1", "chat.seed=-1"},
      {"--ignore-eos", "1", "chat.ignore_eos=true"},
      {"--check-logits", "true", "chat.probe_logits=true"},
      {"--timing", "FALSE", "chat.timing=false"},
      {"--timeout-ms", "60000", "chat.timeout_secs=60.0"},
      {"--gpu-limit-gb", "108", "guard.limit_gb=108.0"},
      {"--gpu-over-secs", "0", "guard.over_secs=0.0"},
      {"--gpu-poll-secs", "0.5", "guard.poll_secs=0.5"},
      {"--prompt", "hi", R"(chat.prompt="hi")"},
      {"--followup-prompt", "go on", R"(chat.followup_prompt="go on")"},
      {"--turns", "3", "chat.turns=3"},
      {"--ifInteractive", "true", "chat.after_script=interactive"},
      {"--ifInteractive", "false", "chat.after_script=end"},
      {"--stop-here", "true", "chat.after_script=end"},
      {"--tee-object-chat-session", "log/a.txt", R"(chat.tee_text="log/a.txt")"},
      {"--tee-object-chat-session-json", "log/a.jsonl", R"(chat.tee_jsonl="log/a.jsonl")"},
  };
  std::map<std::string, int> seen;
  for (const auto& [flag, value, set] : table) {
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{flag, value}, std::vector<std::string>{flag + "=" + value}}) {
      const LegacyFlags result = take(words, with_config);
      EXPECT_TRUE(result.any);
      EXPECT_THAT(result.rest, IsEmpty()) << flag;
      EXPECT_THAT(result.sets, ElementsAre(set)) << flag;
    }
    ++seen[flag];
  }
  // Nothing in the list of flags may be without a meaning that is tested above or below.
  for (const std::string& name : legacy_flag_names("run")) {
    const bool below = name == "--no-kvc-mode" || name == "--kvcacheout" || name == "--kv-cache-out" ||
                       name == "--TokenByTokenOrPromptByPrompt" || name == "--tokenbytokenorpromptbyprompt";
    EXPECT_TRUE(below || seen.contains(name)) << name;
  }
}

TEST(LegacyFlags, TheConfigIsChosenByBackendThenScriptThenDefault) {
  EXPECT_EQ(take({"--kvc-backend", "bridge"}).config, "bridge.yaml");
  EXPECT_EQ(take({"--kvc-backend=fp2-model"}).config, "fp2-model.yaml");
  EXPECT_EQ(take({"--max-tokens=8"}).config, "fp2-model.yaml");
  EXPECT_EQ(take({"script", "run-training2.fsx", "--max-tokens=8"}).config, "bridge.yaml");
  EXPECT_EQ(take({"script", "/a/run-training-fp2.fsx"}).config, "fp2-model.yaml");
  EXPECT_EQ(take({"script", "run-training2.fsx", "--kvc-backend", "fp2-model"}).config, "fp2-model.yaml");
  EXPECT_THAT(refusal({"script", "run-training-fp2.fsx", "--kvc-backend", "bridge"}),
              HasSubstr("training-path only"));
  EXPECT_EQ(take({"--kvc-backend", "bridge"}, with_config).config, std::nullopt);
  EXPECT_FALSE(take({"--config", "x", "--set", "a=b"}, with_config).any);
  EXPECT_THAT(take({"--config", "x", "--set", "a=b"}, with_config).rest,
              ElementsAre("--config", "x", "--set", "a=b"));
}

TEST(LegacyFlags, WithoutAPromptThePredecessorsOwnIsUsedButOnlyWithItsConfig) {
  EXPECT_THAT(take({"--max-tokens=8"}).sets,
              Contains(R"(chat.prompt="Write one short sentence about UFO and you.")"));
  const LegacyFlags own = take({"--max-tokens=8", "--turns", "2"}, with_config);
  EXPECT_THAT(own.sets, UnorderedElementsAre("chat.max_tokens=8", "chat.turns=2"));
  EXPECT_THAT(own.script_flags, ElementsAre("--turns"));
  EXPECT_THAT(take({"--prompt", "a", "--turns", "2"}, with_config).script_flags, IsEmpty());
}

TEST(LegacyFlags, GoingOnAfterTheScript) {
  const LegacySituation person{"run", false, true, {}}, nobody{"run", false, false, {}};
  EXPECT_THAT(take({"--stop-here=false"}, person).sets, Contains("chat.after_script=interactive"));
  EXPECT_THAT(take({"--stop-here=false"}, nobody).sets, Contains("chat.after_script=end"));
  EXPECT_THAT(take({"--ifInteractive", "--stop-here=false"}, nobody).sets,
              Contains("chat.after_script=interactive"));
  EXPECT_THAT(take({"--ifInteractive=false", "--stop-here=false"}, person).sets,
              Contains("chat.after_script=end"));
  EXPECT_THAT(take({"--max-tokens=8"}, person).sets, Not(Contains(HasSubstr("after_script"))));
  EXPECT_THAT(refusal({"--ifInteractive=true", "--stop-here=true"}), HasSubstr("give one of them"));
}

TEST(LegacyFlags, WhatHasNoMeaningIsRefusedWithTheReason) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> table = {
      {{"--kvc-backend", "fp3"}, "--kvc-backend: 'fp3' is neither fp2-model nor bridge"},
      {{"--use-kvc", "maybe"}, "--use-kvc: 'maybe' is neither true nor false"},
      {{"--max-tokens", "8x"}, "--max-tokens: '8x' is not a whole number"},
      {{"--max-tokens="}, "--max-tokens: '' is not a whole number"},
      {{"--temp", "warm"}, "--temp: 'warm' is not a number"},
      {{"--temp", "nan"}, "--temp: 'nan' is not a number"},
      {{"--gpu-limit-gb", "1e999"}, "--gpu-limit-gb: '1e999' is not a number"},
      {{"--quant", "nf4"}, "--quant: 'nf4': there is no such linear backend"},
      {{"--no-kvc-mode", "sliding"}, "--no-kvc-mode: 'sliding'"},
      {{"--kvc-input-mode", "xyz"}, "--kvc-input-mode: 'xyz' is neither pbp"},
      {{"--prompt"}, "--prompt: it needs a value"},
      {{"--prompt", "--turns", "2"}, "--prompt: it needs a value"},
  };
  for (const auto& [words, reason] : table) EXPECT_THAT(refusal(words), HasSubstr(reason));
  EXPECT_THAT(take({"--no-kvc-mode", "full-replay", "--kvc-input-mode", "pbp"}, with_config).sets, IsEmpty());
}

TEST(LegacyFlags, GenerateTakesOnlyWhatOneAnswerHas) {
  const LegacySituation generate{"generate", true, false, {}};
  const LegacyFlags result =
      take({"generate", "--config", "c", "--prompt", "x", "--max-tokens", "3", "--turns", "2"}, generate);
  EXPECT_THAT(result.rest, ElementsAre("generate", "--config", "c", "--prompt", "x", "--turns", "2"));
  EXPECT_THAT(result.sets, ElementsAre("chat.max_tokens=3"));
}

TEST(LegacyFlags, AnyTextReachesTheConfigUnchanged) {
  for (const std::string& prompt :
       std::vector<std::string>{"你是誰", R"("quoted")", "'single'", "${env:HOME}", "a $${ b", "null", "true",
                                "[1, 2]", "a: b # c", "two\nlines\ttab", R"(back\slash "and" 'both')",
                                " spaces ", "=", "-1", "\xf0\x9f\x9b\xb8", ""}) {
    const LegacyFlags result = take({"--prompt=" + prompt}, with_config);
    ASSERT_EQ(result.sets.size(), 1U);
    std::vector<std::string> sets = result.sets;
    sets.insert(sets.end(), {"linear.plugin=a", "kv_cache.plugin=b", "model.path=."});
    const config::Resolved resolved = config::resolve({}, sets, {});
    EXPECT_EQ(config::to_json(resolved.root).at("chat").at("prompt"), prompt);
  }
}

TEST(LegacyFlags, ALimitForALargerMachineBecomesThisMachinesOwn) {
  LegacySituation small{"run", true, false, std::uint64_t{16} << 30};
  const LegacyFlags result = take({"--gpu-limit-gb", "108"}, small);
  EXPECT_THAT(result.sets, ElementsAre("guard.limit_gb=auto"));
  EXPECT_THAT(result.notes,
              ElementsAre("[host] --gpu-limit-gb 108: this machine has 16.0 GiB; guard.limit_gb is auto"));
  small.memory_bytes = std::uint64_t{128} << 30;
  EXPECT_THAT(take({"--gpu-limit-gb", "108"}, small).sets, ElementsAre("guard.limit_gb=108.0"));
  EXPECT_THAT(take({"--gpu-limit-gb", "108"}, small).notes, IsEmpty());
}

TEST(LegacyFlags, TheLastOneWins) {
  EXPECT_THAT(take({"--seed", "1", "--seed=2"}, with_config).sets, ElementsAre("chat.seed=2"));
}

}  // namespace
}  // namespace tetrad::cli
