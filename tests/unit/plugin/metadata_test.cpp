// plugin.json as the host reads it: every shipped one is good, and the short form of `capabilities` stands
// for one claim per device.
#include "plugin/metadata.h"
#include "config/option_schema.h"
#include "plugin/fingerprint.h"

#include <tetrad/base/error.h>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <string>

namespace tetrad::plugin {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

Metadata read(const json& plugin) {
  json fingerprint = host_fingerprint().fields;
  // As in a plugin's CPU half. The host's own entry, in a build with CUDA, names no architectures: it has no
  // device code.
  fingerprint["cuda"] = nullptr;
  return parse_metadata(json({{"note", 1}, {"plugin", plugin}, {"fingerprint", fingerprint}}).dump());
}

json least() {
  return {{"id", "x"}, {"version", "1.0"}, {"kinds", {"linear"}}};
}

std::string refusal(const json& plugin) {
  try {
    read(plugin);
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::plugin_refused);
    return e.what();
  }
}

TEST(Metadata, EveryShippedPluginJsonIsAccepted) {
  int seen = 0;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(fs::path(TETRAD_SOURCE_FOLDER) / "plugins")) {
    const fs::path file = entry.path() / "plugin.json";
    if (!fs::exists(file)) continue;
    ++seen;
    try {
      const Metadata metadata = read(json::parse(std::ifstream(file)));
      EXPECT_EQ(metadata.id, entry.path().filename().string());
      EXPECT_FALSE(metadata.capabilities.empty()) << file;
      for (const std::string& kind : metadata.kinds) {
        config::option_schema_from_json(kind, metadata.id, metadata.options_for(kind));
      }
    } catch (const Error& e) {
      ADD_FAILURE() << file << ": " << e.what();
    }
  }
  EXPECT_GE(seen, 4);
}

TEST(Metadata, OneObjectStandsForAClaimPerDevice) {
  json plugin = least();
  plugin["capabilities"] = {{"devices", {"cpu", "cuda"}}, {"dtypes", {"float32"}}};
  EXPECT_EQ(read(plugin).capabilities, json::parse(R"([
    {"device": "cpu", "support": "native", "dtypes": ["float32"]},
    {"device": "cuda", "support": "native", "dtypes": ["float32"]}])"));
  plugin["capabilities"]["support"] = "emulated";
  EXPECT_EQ(read(plugin).capabilities[1]["support"], "emulated");
}

TEST(Metadata, ClaimsAreChecked) {
  json plugin = least();
  plugin["capabilities"] = {{"devices", {"cpu", "abacus"}}};
  EXPECT_EQ(refusal(plugin), "metadata: capabilities[1].device 'abacus' is not cpu or cuda");
  plugin["capabilities"] = {{"dtypes", {"float32"}}};
  EXPECT_EQ(refusal(plugin), "metadata: capabilities.devices is missing");
  plugin["capabilities"] = 3;
  EXPECT_EQ(refusal(plugin), "metadata: capabilities must be a JSON array, not number");
  plugin["capabilities"] = json::array({{{"device", "cpu"}, {"support", "native"}, {"compute", 4}}});
  EXPECT_EQ(refusal(plugin), "metadata: capabilities[0].compute must be a text or a list");
}

TEST(Metadata, TheRuleForStoredWeightsIsChecked) {
  json plugin = least();
  const auto with = [&](const json& weights) {
    plugin["numerics"] = {{"weights", weights}};
    return refusal(plugin);
  };
  EXPECT_EQ(with({{"reference", "dense"}}), "");
  EXPECT_EQ(with({{"reference", "dense"}, {"bound", 0.004}, {"group", 32}}), "");
  EXPECT_EQ(with({{"reference", "nvfp4"}, {"profile", "modelopt"}, {"global_scale", "exact"}}), "");
  EXPECT_EQ(with(json::object()), "metadata: numerics.weights.reference is missing");
  EXPECT_EQ(with({{"reference", "mine"}}),
            "metadata: numerics.weights.reference 'mine' is not dense or nvfp4");
  EXPECT_EQ(with({{"reference", "dense"}, {"bound", -1}}),
            "metadata: numerics.weights.bound must be a number >= 0");
  for (const json& group : {json("column"), json(0), json(1.5), json(true)}) {
    EXPECT_EQ(with({{"reference", "dense"}, {"group", group}}),
              "metadata: numerics.weights.group must be 'row', 'tensor' or a number of columns");
  }
  EXPECT_EQ(with({{"reference", "nvfp4"}, {"global_scale", "half"}}),
            "metadata: numerics.weights.global_scale 'half' is not power_of_two or exact");
  EXPECT_EQ(with(4), "metadata: numerics.weights must be a JSON object, not number");
}

}  // namespace
}  // namespace tetrad::plugin
