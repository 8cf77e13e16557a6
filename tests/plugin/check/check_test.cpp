// `host plugins check` as a user runs it: exit code, verdict and the names of the cases that fail. The
// shipped plugins pass; each defect of the fixtures is found, and by the case that is there for it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "run_check.h"

namespace {

using nlohmann::json;

struct Answer : tetrad::check_tests::Output {
  json document;  // with --json
};

Answer check(const std::string& arguments, bool as_json = true) {
  Answer answer{tetrad::check_tests::run_check(arguments + (as_json ? " --json" : "")), {}};
  if (as_json) answer.document = json::parse(answer.text, nullptr, false);
  return answer;
}

std::string linear_fixture() {
  return TETRAD_FIXTURES "/check/check-linear.so";
}
std::string kv_fixture() {
  return TETRAD_FIXTURES "/check/check-kv.so";
}

// `failed` is "name=verdict", one for each case that did not pass.
void expect_found(const std::string& file, const std::string& fault, const std::string& only,
                  const std::vector<std::string>& expected, const std::string& words) {
  SCOPED_TRACE("fault " + fault);
  const Answer answer = check(file + " --option fault=" + fault + only);
  ASSERT_TRUE(answer.document.is_object()) << answer.text;
  EXPECT_EQ(answer.exit_code, expected.empty() ? 0 : 3);
  EXPECT_EQ(answer.document.at("verdict"), expected.empty() ? "pass" : "fail");
  std::vector<std::string> found;
  std::string details;
  for (const json& each : answer.document.at("cases")) {
    const auto verdict = each.at("verdict").get<std::string>();
    if (verdict == "pass" || verdict == "skip") continue;
    found.push_back(each.at("name").get<std::string>() + "=" + verdict);
    details += each.at("detail").get<std::string>() + "\n";
  }
  EXPECT_EQ(found, expected) << details;
  EXPECT_NE(details.find(words), std::string::npos) << details;
}

std::string linear(const std::string& name, const std::string& verdict = "fail") {
  return "linear/" + name + "/training/float32=" + verdict;
}
std::string kv(const std::string& name, const std::string& verdict = "fail") {
  return "kv/" + name + "/float32=" + verdict;
}

TEST(PluginCheck, ShippedPluginsPass) {
  // All of the policies; of the backends one dtype, the rest being the same code.
  for (const char* arguments :
       {"kvc-none", "kvc-persistent", "kvc-persistent --option growth=1.0",
        "backend-bf16 --case 'linear/*/bfloat16' --case 'linear/c*' --case open",
        "backend-nvfp4 --case 'linear/*/bfloat16' --case 'linear/c*' --case open",
        "backend-nvfp4 --option profile=modelopt --option global_scale=exact --option "
        "eval_cache=false --case 'linear/*/float16' --case 'linear/weights/*'",
        "backend-nvfp4 --option activations=nvfp4 --case 'linear/forward*/bfloat16' --case linear/claims "
        "--case 'linear/grad-weight/*/bfloat16' --case 'linear/bad-inputs/*/bfloat16' --case "
        "'linear/views/*/bfloat16'",
        "backend-nvfp4 --option compute=reference --case 'linear/*/bridge/float32'"}) {
    SCOPED_TRACE(arguments);
    const Answer answer = check(arguments);
    EXPECT_EQ(answer.exit_code, 0) << answer.text;
    ASSERT_TRUE(answer.document.is_object()) << answer.text;
    EXPECT_EQ(answer.document.at("verdict"), "pass");
    EXPECT_GE(answer.document.at("cases").size(), 10U);
  }
}

TEST(PluginCheck, FixturesWithoutAFaultPass) {
  expect_found(linear_fixture(), "none", "", {}, "");
  expect_found(kv_fixture(), "none", "", {}, "");
}

// A scale that is wrong by two, for one block or for all, in what is stored or in one product only.
TEST(PluginCheck, AWrongScaleIsCaught) {
  const std::string all;
  expect_found(linear_fixture(), "wrong_block", all, {linear("weights")}, "row 2, columns 16 to 31");
  expect_found(linear_fixture(), "wrong_block_half", all, {linear("weights")}, "a factor of 0.5");
  expect_found(linear_fixture(), "wrong_global", all, {linear("weights")}, "a factor of 2");
  expect_found(linear_fixture(), "wrong_ulp", all, {linear("weights")}, "row 2, columns 16 to 31");
  expect_found(linear_fixture(), "unquantised", " --case 'linear/weights/*'", {linear("weights")},
               "NVFP4 codec");
  expect_found(linear_fixture(), "forward_block_of_few_rows", " --case 'linear/forward*'",
               {linear("forward"), linear("forward-by-element")}, "numerics.bounds");
  expect_found(linear_fixture(), "forward_block", " --case 'linear/forward-by-element/*'",
               {linear("forward-by-element")}, "reads columns");
  expect_found(linear_fixture(), "grad_input_scale", " --case 'linear/[fg]*'", {linear("grad-input")}, "dX");
  expect_found(linear_fixture(), "skips_a_row", " --case 'linear/[fg]*'", {linear("grad-weight")}, "dW");
  expect_found(linear_fixture(), "gathers_the_parameter", " --case 'linear/[fg]*'", {linear("gather")},
               "gather");
}

TEST(PluginCheck, WhatABackendRemembersIsChecked) {
  const std::string state =
      " --case 'linear/[eslpd]*'";  // eval-cache, stale, lifecycle, parameter, deterministic
  expect_found(linear_fixture(), "stale", state, {linear("stale")}, "after values were changed");
  expect_found(linear_fixture(), "miscounts_the_cache", state, {linear("eval-cache")},
               "clear_eval_cache freed");
  expect_found(linear_fixture(), "fills_cache_in_training", state, {linear("eval-cache")},
               "a train pass filled");
  expect_found(linear_fixture(), "noise", " --case 'linear/deter*'", {linear("deterministic")},
               "gave other bits");
  expect_found(linear_fixture(), "noise_of_the_process", " --case 'linear/deter*'", {linear("deterministic")},
               "two processes");
  expect_found(linear_fixture(), "configures_twice", state, {linear("lifecycle")}, "a second configure");
  expect_found(linear_fixture(), "writes_the_id_early", " --case 'linear/bad-prepare*'",
               {linear("bad-prepare")}, "wrote the weight id");
  expect_found(linear_fixture(), "drops_the_parameter", " --case 'linear/param*'", {linear("parameter")},
               "dropped the parameter's dense values");
  expect_found(linear_fixture(), "changes_x", " --case 'linear/param*'", {linear("parameter")},
               "x afterwards");
}

TEST(PluginCheck, BadCallsAndValuesAreChecked) {
  const std::string bad = " --case 'linear/bad*'";
  expect_found(linear_fixture(), "changes_y_on_error", bad, {linear("bad-calls")}, "but changed y");
  expect_found(linear_fixture(), "takes_any_dtype", bad, {linear("bad-calls")}, "x of another dtype");
  expect_found(linear_fixture(), "hides_nan_in_x", bad, {linear("bad-inputs")}, "it was hidden");
  expect_found(linear_fixture(), "hidden_nan", bad, {linear("bad-weights")}, "it was hidden");
  expect_found(linear_fixture(), "nameless_nan", bad, {linear("bad-weights")}, "does not name the tensor");
}

TEST(PluginCheck, ClaimsAreChecked) {
  expect_found(linear_fixture(), "claims_everything", " --case linear/claims", {"linear/claims=fail"},
               "does not claim it");
  expect_found(linear_fixture(), "denies_its_claim", " --case linear/claims", {"linear/claims=fail"},
               "plugin.json claims it");
  expect_found(kv_fixture(), "claims_another_bit", " --case 'kv/[cs]*'", {"kv/contract=fail"},
               "kv bit 'shrink'");
}

// Crashes, hangs and exits end their own case; the others go on.
TEST(PluginCheck, ACrashIsOneLine) {
  const std::string some = " --case 'linear/[gf]*'";
  expect_found(linear_fixture(), "crashes", some, {linear("gather", "crash")},
               "SIGSEGV) while in plugin 'check-linear', function 'gather'");
  expect_found(linear_fixture(), "exits", some, {linear("gather", "crash")}, "ended itself with exit code 0");
  expect_found(linear_fixture(), "hangs", some + " --timeout 2", {linear("grad-weight", "hang")},
               "plugin 'check-linear', function 'grad_weight'");
  expect_found(linear_fixture(), "throws", " --case 'linear/[wc]*'", {linear("weights", "crash")},
               "function 'dequantized'");
  expect_found(linear_fixture(), "prints", some,
               {linear("forward"), linear("forward-by-element"), linear("gather")}, "standard output");
  expect_found(linear_fixture(), "throws_in_constructor", "", {"open=fail"}, "I do not want to");
  expect_found(linear_fixture(), "crashes_in_constructor", "", {"open=crash"}, "function 'create'");
}

TEST(PluginCheck, DefectsOfAPolicyAreFound) {
  const auto only = [](const std::string& names) { return " --case 'kv/" + names + "/*'"; };
  expect_found(kv_fixture(), "write_adds", only("[sf]*"), {kv("steps")}, "it must overwrite the first");
  expect_found(kv_fixture(), "write_moves_lengths", only("steps"), {kv("steps")}, "after write: lengths are");
  expect_found(kv_fixture(), "commits_all", only("steps"), {kv("steps")}, "after commit(3) of 5");
  expect_found(kv_fixture(), "rounds", only("steps"), {kv("steps")}, "lossless is claimed");
  expect_found(kv_fixture(), "swaps", only("steps"), {kv("steps")}, "values of layer 2");
  expect_found(kv_fixture(), "full_is_an_error", only("full"), {kv("full")}, "prepare past max_tokens");
  expect_found(kv_fixture(), "fork_shares", only("fork"), {kv("fork")}, "the first after both went on");
  expect_found(kv_fixture(), "evict_moves_position", only("evict"), {kv("evict")}, "next_position");
  expect_found(kv_fixture(), "keeps_a_broken_import", only("export-import"), {kv("export-import")},
               "must be empty");
  expect_found(kv_fixture(), "moves_silently", only("addresses"), {kv("addresses")},
               "graph_epoch did not change");
  expect_found(kv_fixture(), "miscounts_memory", only("memory"), {kv("memory")}, "used");
  expect_found(kv_fixture(), "attends_from_the_top", only("attend"), {kv("attend")}, "from fp64");
  expect_found(kv_fixture(), "crashes_in_write", only("attend"), {kv("attend", "crash")}, "function 'write'");
}

TEST(PluginCheck, AnUnknownKindIsSaid) {
  const Answer answer = check(TETRAD_FIXTURES "/good/good.so", false);
  EXPECT_EQ(answer.exit_code, 3);
  EXPECT_NE(answer.text.find("this host has no checks for kind 'echo'"), std::string::npos) << answer.text;
  EXPECT_NE(answer.text.find("pass  open"), std::string::npos) << answer.text;
}

TEST(PluginCheck, RefusedFilesAndWrongArguments) {
  const auto expect = [](const std::string& arguments, int code, const std::string& words) {
    const Answer answer = check(arguments, false);
    EXPECT_EQ(answer.exit_code, code) << answer.text;
    EXPECT_NE(answer.text.find(words), std::string::npos) << answer.text;
  };
  expect(TETRAD_FIXTURES "/wrong-hash/wrong-hash.so", 3, "SDK interface hash");
  expect("/no/such/file.so", 3, "/no/such/file.so");
  expect(kv_fixture() + " --case nothing", 2, "kv/steps/float32");
  expect(kv_fixture() + " --option faul=none", 2, "did you mean 'fault'?");
  expect(kv_fixture() + " --option fault", 2, "KEY=VALUE");
  expect("backend-nvfp4 --option eval_cache=maybe", 2, "--option eval_cache=maybe: eval_cache");
  expect("kvc-persistent --option growth=99", 2, "growth");
  // A static initialiser that throws shows in the case that opens the file.
  expect(TETRAD_FIXTURES "/throws-static/throws-static.so", 3, "function 'static initialisation'");
}

}  // namespace
