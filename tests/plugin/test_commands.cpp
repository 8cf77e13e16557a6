// What `plugins list|inspect|why` print.
#include <tetrad/base/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "plugin/commands.h"
#include "plugin/fixture_files.h"

using testing::HasSubstr;
using testing::StartsWith;
using tetrad_test::fixture;
using tetrad_test::Folder;
namespace plugin = tetrad::plugin;
using nlohmann::json;

namespace {

struct Commands : testing::Test {
  Folder folder;
  Commands() {
    folder.copy("good", "good.so");
    folder.copy("wrong-hash", "wrong-hash.so");
  }
  plugin::Registry registry() const {
    return plugin::Registry({{plugin::PlaceClass::config, folder.path(), {}}});
  }
  std::string inspect(const std::string& what, bool as_json = false) const {
    std::ostringstream out;
    EXPECT_EQ(plugin::command_inspect(registry(), what, out, as_json), 0);
    return out.str();
  }
};

}  // namespace

TEST_F(Commands, List) {
  std::ostringstream out;
  EXPECT_EQ(plugin::command_list(registry(), out, false), 0);
  EXPECT_THAT(out.str(),
              HasSubstr("good        echo   1.2.3      usable    " + (folder / "good.so").string() + "\n"));
  EXPECT_THAT(out.str(), HasSubstr("wrong-hash  echo   1.2.3      refused   "));
  EXPECT_THAT(out.str(), HasSubstr("    SDK interface hash 0123456789ab != host "));

  std::ostringstream text;
  plugin::command_list(registry(), text, true);
  const json document = json::parse(text.str());
  ASSERT_EQ(document["plugins"].size(), 2U);
  EXPECT_EQ(document["plugins"][0]["verdict"], "usable");
  EXPECT_EQ(document["plugins"][1]["verdict"], "refused");
  EXPECT_EQ(document["places"][0]["note"], "2 plugin files");
}

TEST_F(Commands, InspectALoadablePlugin) {
  const std::string text = inspect("good");
  EXPECT_THAT(text, StartsWith("plugin good 1.2.3\n  Repeats a text; a fixture of the plugin tests.\nkinds: "
                               "echo\nlicence: Apache-2.0\n"));
  EXPECT_THAT(text, HasSubstr("  repeat (int, default 1, at least 1, at most 100)\n      How many times the "
                              "text is repeated.\n"));
  EXPECT_THAT(text, HasSubstr("  mode (enum, default \"plain\", one of plain, loud)\n"));
  EXPECT_THAT(text, HasSubstr("  cpu: native; compute reference; dtypes float32, bfloat16\n"));
  EXPECT_THAT(text, HasSubstr("  accumulation: fp32\n"));
  EXPECT_THAT(text, HasSubstr("\nexports: tetrad_plugin_v1\n"));
  EXPECT_THAT(text, HasSubstr("libc.so.6"));
  EXPECT_THAT(text, HasSubstr("\nverdict: usable\n"));

  const json document = json::parse(inspect("good", true));
  EXPECT_EQ(document["plugin"]["options"].size(), 3U);
  EXPECT_EQ(document["fingerprint"]["interface_hash"], document["host_fingerprint"]["interface_hash"]);
  EXPECT_EQ(document["elf"]["exported"], json::array({"tetrad_plugin_v1"}));
}

TEST_F(Commands, InspectWhatCannotBeLoaded) {
  EXPECT_THAT(inspect("wrong-hash"), HasSubstr("(host: "));
  EXPECT_THAT(inspect("wrong-hash"),
              HasSubstr("\nverdict: refused: SDK interface hash 0123456789ab != host "));
  EXPECT_THAT(inspect(fixture("undefined-symbol").string()), StartsWith("plugin undefined-symbol 1.2.3\n"));
  EXPECT_THAT(inspect(fixture("no-entry").string()),
              HasSubstr("warning: it does not export tetrad_plugin_v1: load would fail\n"));
  EXPECT_THAT(inspect(fixture("no-note").string()), HasSubstr("metadata: cannot be read\n"));
  // Cut in the middle: metadata, options and all, but no verdict to be proud of.
  const std::string good = tetrad_test::read_file(fixture("good"));
  const auto cut = tetrad_test::write_file(folder / "cut.so", good.substr(0, good.size() / 2));
  EXPECT_THAT(inspect(cut.string()), StartsWith("plugin good 1.2.3\n"));
  EXPECT_THAT(inspect(cut.string()), HasSubstr("\nverdict: refused: truncated: "));
}

TEST_F(Commands, InspectUnknown) {
  std::ostringstream out;
  EXPECT_THAT(tetrad_test::error_of([&] { plugin::command_inspect(registry(), "goof", out, false); },
                                    tetrad::ExitCode::plugin_refused),
              StartsWith("[plugin] there is no plugin 'goof'; did you mean 'good'?\nplaces searched:"));
  EXPECT_EQ(tetrad_test::error_of([&] { plugin::command_inspect(registry(), "/no/such.so", out, false); },
                                  tetrad::ExitCode::plugin_refused),
            "[plugin] there is no file /no/such.so");
  EXPECT_EQ(out.str(), "");
}

TEST_F(Commands, Why) {
  std::ostringstream out;
  EXPECT_EQ(plugin::command_why(registry(), "echo", "good", out, false), 0);
  EXPECT_THAT(out.str(), StartsWith("kind echo, the config names 'good'\n"));
  EXPECT_THAT(out.str(), HasSubstr("good.so): chosen: the config names it; first in plugins.path\n"));
  EXPECT_THAT(out.str(), HasSubstr("wrong-hash.so): refused: SDK interface hash"));

  std::ostringstream text;
  plugin::command_why(registry(), "echo", std::nullopt, text, true);
  const json document = json::parse(text.str());
  EXPECT_EQ(document["candidates"][0]["answer"], "usable");
  EXPECT_EQ(document["candidates"][0]["capabilities"].size(), 2U);
  EXPECT_TRUE(document["chosen"].is_null());

  EXPECT_EQ(tetrad_test::error_of([&] { plugin::command_why(registry(), "ekko", std::nullopt, out, false); },
                                  tetrad::ExitCode::usage),
            "[plugin] no candidate is of kind 'ekko'; kinds found: echo");
}
