// The page that a run becomes: every figure in its place, in both languages, whatever the text holds.
#include "runs/summary.h"
#include "support/error_text.h"
#include "text/utf8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <cstring>
#include <set>

namespace tetrad::runs {
namespace {

using nlohmann::json;
using test::error_text;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

json chat_run() {
  return json::parse(R"json({
    "name": "20261123T092801Z-fp2-model",
    "folder": "/r/20261123T092801Z-fp2-model",
    "description": {"command": "chat", "command_line": ["host", "--set", "chat.prompt=it's | odd"],
      "config_file": "configs/fp2-model.yaml", "config_hash": "c0ffee", "overrides": ["chat.turns=2"],
      "started_utc": "20261123T092801Z", "versions": {"tetrad": "0.1.0"},
      "config": {"path": "training", "model": {"path": "/m"}},
      "plugins": [{"kind": "linear", "id": "backend-nvfp4", "version": "0.1.0"},
                  {"kind": "kv_cache", "id": "kvc-persistent", "version": "0.1.0"}]},
    "record": {"command": "chat", "load_s": 1.25, "ttft_s": 1.5,
      "run": {"path": "training", "plugins": {"linear": "backend-nvfp4 0.1.0", "kv_cache": "kvc-persistent 0.1.0"},
              "compute": "reference (emulated)", "eval_cache": "on", "weight_file": "/m/model.safetensors",
              "weight_identity": "identity:abc", "device": "cpu", "dtype": "bfloat16"},
      "memory": {"host_peak_bytes": 1610612736, "device_peak_bytes": 0},
      "turns": [
        {"turn": 1, "prompt": "Hi", "text": "Hello", "prefill_tokens": 17, "prefill_s": 0.25, "output_ids": [1, 2],
         "decode_tok_s": 31.25, "seq_len": 27, "context_tokens": 27, "stop_reason": "stop_token", "collapse": null},
        {"turn": 2, "prompt": "go on", "text": "again again", "prefill_tokens": 10, "prefill_s": 0.125,
         "output_ids": [1, 2, 3], "decode_tok_s": 30, "seq_len": 47, "context_tokens": 47,
         "stop_reason": "max_tokens", "collapse": "'again'"}]},
    "status": {"state": "ok", "exit_code": 0, "reason": "", "wall_s": 3.5, "tok_s": 30.6,
               "guard": {"peak_tree_bytes": 2147483648}}})json");
}

TEST(Summary, HasEveryFigure) {
  const std::string page = summary(chat_run(), Language::english);
  EXPECT_THAT(page, testing::StartsWith("# Run 20261123T092801Z-fp2-model: ok\n\n| | |\n|---|---|\n"));
  for (const char* row : {
           "| Command | `host --set 'chat.prompt=it'\\''s \\| odd'` |\n",
           "| Task | chat |\n",
           "| Started | 2026-11-23 09:28:01 UTC |\n",
           "| Duration | 3.50 s |\n",
           "| Result | ok (exit code 0) |\n",
           "| Path | training |\n",
           "| Linear layers | backend-nvfp4 0.1.0, reference (emulated), eval cache on |\n",
           "| KV cache | kvc-persistent 0.1.0 |\n",
           "| Device, dtype | cpu, bfloat16 |\n",
           "| Weights | `/m/model.safetensors` |\n",
           "| Weight hash | `identity:abc` |\n",
           "| Config | `configs/fp2-model.yaml`, hash `c0ffee` |\n",
           "| Overrides | `chat.turns=2` |\n",
           "| Peak memory | host 1.50 GiB, all processes 2.00 GiB |\n",
           "| Timing | ready after 1.25 s, first token after 1.50 s, 30.6 tok/s |\n",
           "| 1 | 27 | 27 | 17 | 250.0 | 2 | 31.2 | stop_token |\n",
           "| 2 | 47 | 47 | 10 | 125.0 | 3 | 30.0 | max_tokens |\n",
           "\n### turn 2\n\nPrompt:\n\n```text\ngo on\n```\n\nAnswer:\n\n```text\nagain again\n```\n",
           "The answer repeats itself: `'again'`\n",
       }) {
    EXPECT_THAT(page, HasSubstr(row));
  }
  EXPECT_THAT(page, Not(HasSubstr("Reason")));
}

TEST(Summary, ChineseHasTheSameFigures) {
  const std::string english = summary(chat_run(), Language::english);
  const std::string chinese = summary(chat_run(), Language::traditional_chinese);
  EXPECT_EQ(std::count(chinese.begin(), chinese.end(), '\n'),
            std::count(english.begin(), english.end(), '\n'));
  EXPECT_EQ(std::count(chinese.begin(), chinese.end(), '|'), std::count(english.begin(), english.end(), '|'));
  EXPECT_THAT(chinese, AllOf(HasSubstr("# 執行紀錄 20261123T092801Z-fp2-model： 成功"),
                             HasSubstr("| 權重雜湊 | `identity:abc` |"), HasSubstr("| 2 | 47 | 47 | 10 |"),
                             HasSubstr("eval 快取 開")));
  EXPECT_EQ(text::validate_utf8(chinese), std::nullopt);
}

// Words holds nothing but pointers to texts, so that a table can be walked.
TEST(Summary, BothTablesHaveEveryWord) {
  constexpr std::size_t count = sizeof(Words) / sizeof(const char*);
  const char* english[count];
  const char* chinese[count];
  std::memcpy(english, &words(Language::english), sizeof english);
  std::memcpy(chinese, &words(Language::traditional_chinese), sizeof chinese);
  for (std::size_t i = 0; i < count; ++i) {
    ASSERT_NE(english[i], nullptr) << i;
    ASSERT_NE(chinese[i], nullptr) << english[i];
    EXPECT_NE(*english[i], '\0') << i;
    EXPECT_STRNE(english[i], chinese[i]);
  }
}

TEST(Summary, AFailedRunSaysWhy) {
  json run = chat_run();
  run["record"] = nullptr;
  run["status"] = {
      {"state", "failed"}, {"exit_code", 3}, {"reason", "[backend-nvfp4] cannot run here: no\nFP4"}};
  const std::string page = summary(run, Language::english);
  EXPECT_THAT(page,
              AllOf(HasSubstr("| Result | failed (exit code 3) |"),
                    HasSubstr("| Reason | `[backend-nvfp4] cannot run here: no FP4` |"),
                    HasSubstr("| Linear layers | backend-nvfp4 0.1.0 |"), HasSubstr("| Weights | `/m` |"),
                    HasSubstr("| Peak memory | unknown |"), Not(HasSubstr("## "))));
}

TEST(Summary, ShowsEvaluationsAndLogits) {
  json run = chat_run();
  run["record"]["turns"] = json::array();
  run["record"]["result"] = {{"text", "/t.txt"}, {"perplexity", 10.96125}, {"perplexity_standard_error", 0.5},
                             {"tokens", 1024},   {"scored_tokens", 1023},  {"window", 512},
                             {"stride", 256}};
  EXPECT_THAT(summary(run, Language::english),
              AllOf(HasSubstr("## Evaluation"), HasSubstr("| perplexity | 10.9612 ± 0.5000 |"),
                    HasSubstr("| scored tokens | 1023 |"), Not(HasSubstr("## Turns"))));
  run["record"]["result"] = {{"out", "/x.safetensors"}, {"positions", 9}, {"vocab_size", 49152}};
  EXPECT_THAT(summary(run, Language::english), AllOf(HasSubstr("| file | `/x.safetensors` |"),
                                                     HasSubstr("| positions | 9 |"), HasSubstr("| 49152 |")));
}

TEST(Summary, TextCannotBreakThePage) {
  json run = chat_run();
  run["record"]["turns"][0]["text"] = "```\n# not a heading\n````\n\x1b[2Jgone\x7f";
  run["record"]["turns"][0]["prompt"] = "tab\there";
  const std::string page = summary(run, Language::english);
  EXPECT_THAT(page, HasSubstr("`````text\n```\n# not a heading\n````\n\u241b[2Jgone\u2421\n`````\n"));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("\x1b")), HasSubstr("tab\there")));

  run["record"]["turns"][0]["text"] = std::string(19'999, 'a') + "\u4f60\u597d";
  const std::string cut = summary(run, Language::english);
  EXPECT_THAT(cut, AllOf(HasSubstr("a\n```\n\n*cut here; the whole text is in transcript.txt*")));
  EXPECT_EQ(text::validate_utf8(cut), std::nullopt);
}

TEST(Summary, AnEmptyOrHostileRunIsAPageToo) {
  for (const char* run :
       {R"({})", R"({"record": [], "status": 1, "description": "x", "name": 3})",
        R"({"record": {"turns": [1, null, {"text": 5, "output_ids": 7}], "run": []}})",
        R"({"description": {"command_line": [1, null], "plugins": [1], "overrides": [[]]}})"}) {
    EXPECT_THAT(summary(json::parse(run), Language::english), HasSubstr("| Peak memory | unknown |")) << run;
  }
}

TEST(Summary, LanguagesAreNamed) {
  EXPECT_EQ(parse_language("en"), Language::english);
  for (const char* name : {"zh-TW", "zh-tw", "zh_TW"})
    EXPECT_EQ(parse_language(name), Language::traditional_chinese);
  EXPECT_EQ(error_text([] { parse_language("fr"); }), "[cli] --lang: 'fr' is neither en nor zh-TW");
}

TEST(Summary, CommandLinesCanBePasted) {
  EXPECT_EQ(shell_words({"host", "--set", "a.b=c d", "", "it's", "$HOME", "\u4f60"}),
            "host --set 'a.b=c d' '' 'it'\\''s' '$HOME' '\u4f60'");
}

}  // namespace
}  // namespace tetrad::runs
