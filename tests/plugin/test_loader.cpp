// Loading, making objects, and the exact message of every way in which that can fail.
#include <tetrad/base/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "plugin/fixture_files.h"
#include "plugin/fixtures/echo.h"
#include "plugin/loader.h"

using testing::HasSubstr;
using testing::StartsWith;
using tetrad::ExitCode;
using tetrad::Options;
using tetrad_test::Echo;
using tetrad_test::error_of;
using tetrad_test::fixture;
namespace plugin = tetrad::plugin;

namespace {

Options echo_options(const std::string& prefix, std::int64_t repeat) {
  return Options({{"prefix", prefix}, {"repeat", repeat}, {"mode", std::string("plain")}});
}

std::string refused(const std::string& id, const std::string& reason) {
  return "[plugin] plugin '" + id + "' (file " + fixture(id).string() + "): refused: " + reason;
}

std::string load_error(const std::string& id) {
  return error_of([&] { plugin::load(fixture(id)); }, ExitCode::plugin_refused);
}

struct LogLines {
  std::vector<std::string> lines;
  LogLines() {
    plugin::set_log_sink([this](tetrad::LogLevel, std::string_view id, std::string_view text) {
      lines.push_back(std::string(id) + ": " + std::string(text));
    });
  }
  ~LogLines() { plugin::set_log_sink({}); }
};

}  // namespace

TEST(Loader, MakesObjectsThatWorkAndLog) {
  LogLines log;
  plugin::Plugin& good = plugin::load(fixture("good"));
  EXPECT_EQ(good.id(), "good");
  EXPECT_EQ(good.version(), "1.2.3");
  EXPECT_EQ(good.build_id().size(), 40U);
  {
    auto one = plugin::create<Echo>(good, "echo", echo_options("a", 2));
    auto two = plugin::create<Echo>(good, "echo", echo_options("b", 1));
    std::string answer;
    ASSERT_TRUE(one->say("x", answer).ok());
    EXPECT_EQ(answer, "axax");
    ASSERT_TRUE(two->say("y", answer).ok());
    EXPECT_EQ(answer, "by");
    auto moved = std::move(two);
    EXPECT_FALSE(static_cast<bool>(two));  // NOLINT: a moved-from handle is empty
    EXPECT_TRUE(static_cast<bool>(moved));
    moved = std::move(one);
    EXPECT_THAT(log.lines.back(), "good: destroyed b");
  }
  EXPECT_EQ(log.lines, (std::vector<std::string>{"good: created", "good: created", "good: destroyed b",
                                                 "good: destroyed a"}));
}

TEST(Loader, SameFileIsLoadedOnce) {
  tetrad_test::Folder folder;
  std::filesystem::create_symlink(fixture("good"), folder / "link.so");
  EXPECT_EQ(&plugin::load(fixture("good")), &plugin::load(fixture("good")));
  EXPECT_EQ(&plugin::load(fixture("good")), &plugin::load(folder / "link.so"));
}

TEST(Loader, StatusOfCreateNamesPluginAndFunction) {
  plugin::Plugin& good = plugin::load(fixture("good"));
  const std::string start = "[plugin] plugin 'good' (file " + fixture("good").string() + "): create echo: ";
  EXPECT_EQ(error_of([&] { plugin::create<Echo>(good, "echo", echo_options("", 13)); }, ExitCode::usage),
            start + "invalid option: repeat=13 is unlucky");
  EXPECT_EQ(error_of([&] { plugin::create<Echo>(good, "echo", Options()); }, ExitCode::usage),
            start + "invalid option: option 'prefix' is not in the plugin's option schema");
  EXPECT_EQ(error_of(
                [&] {
                  plugin::create<Echo>(good, "echo", Options({{"prefix", std::string()}, {"repeat", 1.5}}));
                },
                ExitCode::usage),
            start + "invalid option: option 'repeat' has another type than the plugin reads");
  EXPECT_EQ(
      error_of([&] { plugin::create<Echo>(good, "linear", echo_options("", 1)); }, ExitCode::plugin_refused),
      refused("good", "it is of kind echo, asked for kind linear"));

  plugin::Plugin& thrower = plugin::load(fixture("throws-create"));
  EXPECT_EQ(error_of([&] { plugin::create<Echo>(thrower, "echo", Options()); }, ExitCode::runtime),
            "[plugin] plugin 'throws-create' (file " + fixture("throws-create").string() +
                "): create echo: no luck today");
}

TEST(Loader, EveryStatusCodeHasItsExitCode) {
  plugin::Plugin& good = plugin::load(fixture("good"));
  const auto code = [&](tetrad::StatusCode status, ExitCode exit) {
    return error_of([&] { plugin::check({status, "why"}, good, "forward"); }, exit);
  };
  const std::string start = "[plugin] plugin 'good' (file " + fixture("good").string() + "): forward: ";
  plugin::check({}, good, "forward");
  EXPECT_EQ(code(tetrad::StatusCode::unsupported, ExitCode::plugin_refused), start + "unsupported: why");
  EXPECT_EQ(code(tetrad::StatusCode::out_of_memory, ExitCode::runtime), start + "out of memory: why");
  EXPECT_EQ(code(tetrad::StatusCode::device_error, ExitCode::runtime), start + "device error: why");
  EXPECT_EQ(code(tetrad::StatusCode::numerics, ExitCode::numerics), start + "numerics: why");
  EXPECT_EQ(code(tetrad::StatusCode::internal, ExitCode::runtime), start + "why");
  EXPECT_EQ(code(static_cast<tetrad::StatusCode>(99), ExitCode::runtime), start + "unknown status code: why");
}

TEST(Loader, RefusesBeforeRunningAnything) {
  EXPECT_THAT(load_error("wrong-hash"),
              StartsWith(refused("wrong-hash", "SDK interface hash 0123456789ab != host ")));
  EXPECT_THAT(load_error("wrong-hash"), testing::EndsWith("; rebuild against this SDK"));
  EXPECT_THAT(load_error("wrong-torch"), HasSubstr("libtorch 2.12.0"));
  EXPECT_EQ(
      load_error("no-note"),
      refused("no-note", "not a Tetrad plugin: it has no Tetrad note; build it with tetrad_add_plugin()"));
  EXPECT_EQ(load_error("absent"), refused("absent", "cannot be opened: No such file or directory"));
}

TEST(Loader, RefusesWhatCannotBeOpened) {
  const std::string text = refused(
      "undefined-symbol",
      "it needs the symbol 'missing_library::words_of_wisdom[abi:cxx11](int)', which no library that it "
      "names in DT_NEEDED has; link it with -Wl,-z,defs to find the missing library, and rebuild "
      "against this SDK");
  EXPECT_EQ(load_error("undefined-symbol"), text);
  EXPECT_EQ(load_error("undefined-symbol"), text);  // and again, not from a half-made state
}

TEST(Loader, RefusesABrokenHandshake) {
  EXPECT_EQ(
      load_error("no-entry"),
      refused("no-entry",
              "it does not export 'tetrad_plugin_v1'; write one TETRAD_PLUGIN(...) line in its sources"));
  EXPECT_EQ(load_error("refuses-start"), refused("refuses-start", "its start failed: not on a Monday"));
  EXPECT_EQ(load_error("table-version"),
            refused("table-version", "its plugin table has version 7, this host knows 1 to 1"));
  EXPECT_EQ(load_error("table-size"),
            refused("table-size", "its plugin table is 8 bytes long, expected 40 to 48"));
  EXPECT_EQ(load_error("table-null"), refused("table-null", "its plugin table has a null entry"));
  EXPECT_EQ(load_error("table-id"),
            refused("table-id", "it calls itself 'somebody-else', its metadata says 'table-id'"));
  EXPECT_EQ(load_error("table-plugin-version"),
            refused("table-plugin-version", "it says version 9.9.9, its metadata says 1.2.3"));
  EXPECT_EQ(load_error("table-null"), refused("table-null", "its plugin table has a null entry"))
      << "a second try must fail alike";
}
