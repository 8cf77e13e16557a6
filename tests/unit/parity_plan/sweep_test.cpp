// Sweeps: read from a config's tree, counted before anything is made, expanded; and each value survives its
// way through --set to the same value in the resolved arm.
#include "parity/plan/sweep.h"

#include "config/emit.h"
#include "config/resolve.h"
#include "config/yaml_reader.h"
#include "support/error_text.h"
#include "support/temp_dir.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <random>
#include <set>

namespace tetrad::parity {
namespace {

using config::Diagnostics;
using nlohmann::json;
using tetrad::test::error_text;

struct Read {
  Sweep sweep;
  std::string errors;
};

Read read(const std::string& yaml) {
  Diagnostics diagnostics;
  const auto name = std::make_shared<const std::string>("s.yaml");
  const config::Node tree = config::read_yaml(yaml, config::Origin::file(name, 0, 0), diagnostics);
  EXPECT_FALSE(diagnostics.has_errors()) << yaml;
  Read result;
  result.sweep = read_sweep(&tree, diagnostics);
  for (const config::Diagnostic& d : diagnostics.errors()) result.errors += d.to_string() + "\n";
  return result;
}

std::vector<std::string> text_of(const std::vector<Combination>& arms) {
  std::vector<std::string> lines;
  for (const Combination& arm : arms) {
    std::string line = arm.label.empty() ? "" : arm.label + ":";
    for (const Assignment& a : arm.values) line += (line.empty() ? "" : " ") + a.set_argument();
    lines.push_back(line);
  }
  return lines;
}

using Lines = std::vector<std::string>;

TEST(Sweep, NothingIsOneArmAsConfigured) {
  EXPECT_EQ(count_combinations(Sweep{}), 1U);
  EXPECT_EQ(text_of(expand(Sweep{})), Lines{""});
  EXPECT_TRUE(read_sweep(nullptr, *std::make_unique<Diagnostics>()).empty());
}

TEST(Sweep, MatrixIsEveryCombinationWithTheLastKeyFastest) {
  const Read r = read("matrix: {path: [training, bridge], parity.feed: [whole, 'chunk:64']}");
  EXPECT_EQ(r.errors, "");
  EXPECT_EQ(count_combinations(r.sweep), 4U);
  EXPECT_EQ(text_of(expand(r.sweep)),
            (Lines{"path=training parity.feed=whole", "path=training parity.feed=chunk:64",
                   "path=bridge parity.feed=whole", "path=bridge parity.feed=chunk:64"}));
}

TEST(Sweep, ZipGoesTogetherAndMultipliesTheMatrix) {
  const Read r = read(
      "matrix: {path: [training, bridge]}\nzip: {linear.plugin: [a, b], model.dtype: [float32, bfloat16]}");
  EXPECT_EQ(r.errors, "");
  EXPECT_EQ(count_combinations(r.sweep), 4U);
  EXPECT_EQ(text_of(expand(r.sweep)), (Lines{"path=training linear.plugin=a model.dtype=float32",
                                             "path=training linear.plugin=b model.dtype=bfloat16",
                                             "path=bridge linear.plugin=a model.dtype=float32",
                                             "path=bridge linear.plugin=b model.dtype=bfloat16"}));
}

TEST(Sweep, ExcludeTakesCombinationsAwayAndIncludeAddsArms) {
  const Read r = read(
      "matrix: {path: [training, bridge], run.threads: [1, 2]}\n"
      "exclude: [{path: bridge, run.threads: 2}]\n"
      "include: [{}, {label: of old, path: bridge, run.threads: 2}]");
  EXPECT_EQ(r.errors, "");
  EXPECT_EQ(count_combinations(r.sweep), 6U) << "before anything is excluded";
  EXPECT_EQ(text_of(expand(r.sweep)),
            (Lines{"path=training run.threads=1", "path=training run.threads=2", "path=bridge run.threads=1",
                   "", "of old: path=bridge run.threads=2"}))
      << "what is included is not excluded";
}

TEST(Sweep, IncludeAloneAddsNothingElse) {
  const Read r = read("include: [{path: training}, {path: bridge}]");
  EXPECT_EQ(count_combinations(r.sweep), 2U);
  EXPECT_EQ(text_of(expand(r.sweep)), (Lines{"path=training", "path=bridge"}));
}

TEST(Sweep, NestedMapsAreDottedKeys) {
  const Read r = read("matrix: {parity: {feed: [off, whole]}, linear: {options: {eval_cache: [true]}}}");
  EXPECT_EQ(r.errors, "");
  EXPECT_EQ(text_of(expand(r.sweep)), (Lines{"parity.feed=off linear.options.eval_cache=true",
                                             "parity.feed=whole linear.options.eval_cache=true"}));
}

TEST(Sweep, WrongKeysAndShapesAreNamedWithTheirPlaces) {
  EXPECT_EQ(read("matrix: {paht: [a]}").errors, "s.yaml:1:10: unknown key 'paht'; did you mean 'path'?\n");
  EXPECT_EQ(read("matrix: {parity.feeed: [off]}").errors,
            "s.yaml:1:10: unknown key 'parity.feeed'; did you mean 'parity.feed'?\n");
  EXPECT_EQ(
      read("matrix: {path: training}").errors,
      "s.yaml:1:16: parity.sweep.matrix.path: expected a list of at least one value, such as path: [a, b]\n");
  EXPECT_EQ(
      read("zip: {path: []}").errors,
      "s.yaml:1:13: parity.sweep.zip.path: expected a list of at least one value, such as path: [a, b]\n");
  EXPECT_EQ(read("matrx: {path: [a]}").errors,
            "s.yaml:1:1: unknown key 'matrx' in parity.sweep; did you mean 'matrix'?; it takes matrix, zip, "
            "include, exclude\n");
  EXPECT_EQ(read("matrix: [path]").errors,
            "s.yaml:1:9: parity.sweep.matrix: expected a map of key to list of values, got a list\n");
  EXPECT_EQ(read("include: {path: training}").errors,
            "s.yaml:1:10: parity.sweep.include: expected a list of maps, got a map\n");
  EXPECT_EQ(read("exclude: [{}]").errors,
            "s.yaml:1:11: parity.sweep.exclude: {} would leave out every arm\n");
  EXPECT_EQ(read("include: [{label: ''}]").errors, "s.yaml:1:19: label: expected a text\n");
  EXPECT_EQ(
      read("zip: {path: [a, b], run.threads: [1]}").errors,
      "s.yaml:1:1: parity.sweep.zip: 'path' has 2 values and 'run.threads' has 1; they must be as many\n");
  EXPECT_EQ(read("matrix: {path: [a]}\nzip: {path: [a]}").errors,
            "s.yaml:1:1: parity.sweep: 'path' stands in matrix and in zip\n");
  EXPECT_EQ(read("matrix: {run.dir: [a]}").errors,
            "s.yaml:1:10: 'run.dir' belongs to all arms and cannot be swept\n");
  EXPECT_EQ(read("matrix: {parity.sweep.matrix: [[a]]}").errors,
            "s.yaml:1:10: 'parity.sweep.matrix' belongs to all arms and cannot be swept\n");
  EXPECT_EQ(read("matrix: {path: [{a: b}]}").errors,
            "s.yaml:1:17: parity.sweep.matrix.path: a value of this key is no map\n");
}

TEST(Sweep, ArgumentsAddToTheMatrixAndReplaceWhatIsThere) {
  Sweep sweep = read("matrix: {path: [training], run.threads: [1, 2]}").sweep;
  add_sweep_argument(sweep, "path=training, bridge");
  add_sweep_argument(sweep, "linear.options.eval_cache=true,false");
  add_sweep_argument(sweep, "parity.prompts=[[\"a, b\"], [c]]");
  EXPECT_EQ(count_combinations(sweep), 16U);
  EXPECT_EQ(text_of(expand(sweep)).front(),
            "path=training run.threads=1 linear.options.eval_cache=true parity.prompts=[\"a, b\"]");
  const auto error = [&](const char* argument) {
    return error_text([&] { add_sweep_argument(sweep, argument); });
  };
  EXPECT_EQ(error("path"), "[cli] --sweep path: expected KEY=VALUE,VALUE, such as parity.feed=whole,tokens");
  EXPECT_EQ(error("path="),
            "[cli] --sweep path=: expected KEY=VALUE,VALUE, such as parity.feed=whole,tokens");
  EXPECT_EQ(error("path=a,,b"), "[cli] --sweep path=a,,b: an empty value between commas");
  EXPECT_EQ(error("pth=a"), "[cli] --sweep pth=a: unknown key 'pth'; did you mean 'path'?");
  EXPECT_EQ(error("path=[a"), "[cli] --sweep path=[a: this is not a YAML list of values");
  sweep = read("zip: {path: [training]}").sweep;
  EXPECT_EQ(error("path=a"), "[cli] --sweep path=a: the config's sweep.zip has this key");
}

TEST(Sweep, CountingHoldsNothingAndSaturates) {
  Sweep sweep;
  for (int axis = 0; axis < 9; ++axis)
    sweep.matrix.push_back({"k" + std::to_string(axis), std::vector<json>(10, json(axis))});
  EXPECT_EQ(count_combinations(sweep), 1'000'000'000U);
  for (int axis = 0; axis < 12; ++axis)
    sweep.matrix.push_back({"m" + std::to_string(axis), std::vector<json>(10, json(axis))});
  EXPECT_EQ(count_combinations(sweep), std::numeric_limits<std::uint64_t>::max());
  sweep.include.resize(3);
  EXPECT_EQ(count_combinations(sweep), std::numeric_limits<std::uint64_t>::max());
}

TEST(Sweep, AsManyArmsAsCountedAndAllDifferent) {
  std::mt19937 rng(7);
  for (int round = 0; round < 200; ++round) {
    Sweep sweep;
    int number = 0;
    for (unsigned axes = rng() % 4; axes > 0; --axes) {
      Axis axis{"m" + std::to_string(axes), {}};
      for (unsigned n = 1 + rng() % 4; n > 0; --n) axis.values.push_back(++number);
      sweep.matrix.push_back(axis);
    }
    const unsigned length = 1 + rng() % 4;
    for (unsigned axes = rng() % 3; axes > 0; --axes) {
      Axis axis{"z" + std::to_string(axes), {}};
      for (unsigned n = 0; n < length; ++n) axis.values.push_back(++number);
      sweep.zip.push_back(axis);
    }
    const std::vector<Combination> arms = expand(sweep);
    EXPECT_EQ(arms.size(), count_combinations(sweep));
    const Lines lines = text_of(arms);
    EXPECT_EQ(std::set<std::string>(lines.begin(), lines.end()).size(), arms.size());
  }
}

// The arm's config holds the very value that the sweep says, whatever the schema's type is.
TEST(Sweep, ValuesSurviveTheirWayThroughSet) {
  const tetrad::test::TempDir folder;
  folder.write("c.yaml", "linear: {plugin: p}\nkv_cache: {plugin: k}\n");
  config::Surroundings surroundings;
  surroundings.current_directory = folder.path();
  const auto resolved = [&](const Assignment& a) {
    return config::to_json(config::resolve(std::vector<std::string>{"c.yaml"},
                                           std::vector<std::string>{a.set_argument()}, {}, surroundings)
                               .at(a.key));
  };
  const std::vector<Assignment> values = {
      {"chat.prompt", nullptr},
      {"chat.prompt", "null"},
      {"chat.prompt", "true"},
      {"chat.prompt", "12"},
      {"chat.prompt", "[a]"},
      {"chat.prompt", "\"quoted\""},
      {"chat.prompt", " spaced "},
      {"chat.prompt", "a=b, c: #d"},
      {"chat.prompt", "${env:HOME}"},
      {"chat.prompt", "l1\nl2\t\\"},
      {"chat.prompt", "你好 'x'"},
      {"chat.followup_prompt", ""},
      {"chat.temperature", 0.7},
      {"chat.temperature", 1e-7},
      {"chat.ignore_eos", true},
      {"chat.seed", -5},
      {"model.max_context", nullptr},
      {"model.max_context", 77},
      {"model.device", "cuda:1"},
      {"parity.feed", "chunk:64"},
      {"guard.limit_gb", "auto"},
      {"parity.prompts", {"a, b", "null", "${env:X}", "\"", "你"}},
      {"train.data_weights", {1.0, 2.5}},
      {"linear.options", {{"x", 1}, {"y", "t: u"}, {"z", 0.5}}},
  };
  for (const Assignment& a : values) EXPECT_EQ(resolved(a), a.value) << a.set_argument();
}

}  // namespace
}  // namespace tetrad::parity
