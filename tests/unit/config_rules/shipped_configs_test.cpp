// The configs that ship: good as they are, and what the docs say about them is so. Their plugins' options are
// read from the plugins' own plugin.json.
#include "config/emit.h"
#include "config/option_schema.h"
#include "config/resolve.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace tetrad::config {
namespace {

namespace fs = std::filesystem;

const fs::path source(TETRAD_SOURCE_FOLDER);

Resolved shipped(const std::string& name, const std::vector<std::string>& sets = {}) {
  Surroundings surroundings;
  surroundings.current_directory = source;
  const OptionLookup lookup = [](const std::string& kind, const std::string& id) {
    const fs::path file = source / "plugins" / id / "plugin.json";
    if (!fs::exists(file)) throw Error(ExitCode::plugin_refused, "[plugin] no " + file.string());
    const nlohmann::json metadata = nlohmann::json::parse(std::ifstream(file));
    return std::optional(option_schema_from_json(kind, id, metadata.at("options")));
  };
  return resolve(std::vector<std::string>{"configs/" + name}, sets, lookup, surroundings);
}

TEST(ShippedConfigs, EveryOneThatNamesItsPluginsIsGood) {
  int seen = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(source / "configs")) {
    const std::string name = entry.path().lexically_relative(source / "configs").string();
    if (entry.path().extension() != ".yaml" || name == "base.yaml") continue;
    ++seen;
    try {
      EXPECT_TRUE(shipped(name).warnings.empty()) << name;
    } catch (const Error& e) {
      ADD_FAILURE() << e.what();
    }
  }
  EXPECT_GE(seen, 8);
}

TEST(ShippedConfigs, Fp2ModelIsTheTrainingPathAndStaysThere) {
  const Resolved resolved = shipped("fp2-model.yaml");
  EXPECT_EQ(resolved.at("path").as_string(), "training");
  EXPECT_EQ(resolved.at("linear.plugin").as_string(), "backend-nvfp4");
  EXPECT_TRUE(resolved.at("linear.options.eval_cache").as_bool());
  EXPECT_EQ(resolved.at("kv_cache.plugin").as_string(), "kvc-persistent");
  EXPECT_EQ(resolved.at("chat.collapse").as_string(), "stop");
  EXPECT_EQ(resolved.at("chat.max_tokens").as_integer(), 256);
  EXPECT_EQ(resolved.at("model.path").as_string(), (source / "models/default").string());
  try {
    shipped("fp2-model.yaml", {"path=bridge"});
    ADD_FAILURE() << "the path is not pinned";
  } catch (const ConfigError& e) {
    const std::string text = e.what();
    EXPECT_TRUE(
        text.starts_with("--set path=bridge: 'path' is pinned to 'training' by configs/fp2-model.yaml:"));
    EXPECT_TRUE(text.ends_with(": this config is training-path only; use configs/bridge.yaml")) << text;
    EXPECT_EQ(e.code(), ExitCode::usage);
  }
}

TEST(ShippedConfigs, BridgeAndBf16DifferInWhatTheirNamesSay) {
  EXPECT_EQ(shipped("bridge.yaml").at("path").as_string(), "bridge");
  EXPECT_EQ(shipped("bridge.yaml").at("linear.plugin").as_string(), "backend-nvfp4");
  EXPECT_EQ(shipped("bf16.yaml").at("path").as_string(), "training");
  EXPECT_EQ(shipped("bf16.yaml").at("linear.plugin").as_string(), "backend-bf16");
}

}  // namespace
}  // namespace tetrad::config
