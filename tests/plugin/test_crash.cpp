// What ends the process still says which plugin was running. Each case runs in a child process.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <thread>

#include "plugin/fixture_files.h"
#include "plugin/fixtures/echo.h"
#include "plugin/loader.h"

using tetrad_test::Echo;
using tetrad_test::fixture;
namespace plugin = tetrad::plugin;

namespace {

tetrad::Options options(std::int64_t repeat) {
  return tetrad::Options({{"prefix", std::string("p")}, {"repeat", repeat}, {"mode", std::string("plain")}});
}

void crash_in_create(int number) {
  plugin::install_crash_handler();
  auto object = plugin::create<Echo>(plugin::load(fixture("crashes")), "echo", options(number));
}

class CrashDeathTest : public testing::Test {
 protected:
  CrashDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

}  // namespace

TEST_F(CrashDeathTest, SignalInCreate) {
  EXPECT_EXIT(crash_in_create(SIGSEGV), testing::KilledBySignal(SIGSEGV),
              "error: \\[crash\\] signal 11 \\(SIGSEGV\\) while in plugin 'crashes', function 'create'");
  EXPECT_EXIT(crash_in_create(SIGABRT), testing::KilledBySignal(SIGABRT),
              "error: \\[crash\\] signal 6 \\(SIGABRT\\) while in plugin 'crashes', function 'create'");
}

// C libraries differ: the exception passes through dlopen or ends the process there. Either way the plugin is
// named.
TEST_F(CrashDeathTest, StaticInitialiserThatThrows) {
  const auto either = [](int status) {
    return testing::ExitedWithCode(3)(status) || testing::KilledBySignal(SIGABRT)(status);
  };
  EXPECT_EXIT(
      {
        plugin::install_crash_handler();
        try {
          plugin::load(fixture("throws-static"));
        } catch (const tetrad::Error& e) {
          std::fprintf(stderr, "%s\n", e.what());
          try {
            plugin::load(fixture("good"));
          } catch (const tetrad::Error& second) {
            std::fprintf(stderr, "%s\n", second.what());
            std::exit(static_cast<int>(second.code()));
          }
        }
      },
      either,
      "terminated while in plugin 'throws-static', function 'static initialisation'\n.*nobody caught: static "
      "trouble|"
      "refused: one of its static initialisers threw: static trouble; do that work in the constructor of its "
      "class\n"
      ".*static initialiser of plugin 'throws-static' threw; nothing more");
}

TEST_F(CrashDeathTest, EntryThatThrows) {
  EXPECT_EXIT(
      {
        plugin::install_crash_handler();
        plugin::load(fixture("throws-start"));
      },
      testing::KilledBySignal(SIGABRT),
      "terminated while in plugin 'throws-start', function 'tetrad_plugin_v1'\n.*start trouble");
}

TEST_F(CrashDeathTest, OutsideOfPluginsAndNesting) {
  EXPECT_EXIT(
      {
        plugin::install_crash_handler();
        const plugin::Breadcrumb outer("outer", "one");
        { const plugin::Breadcrumb inner("inner", "two"); }
        std::raise(SIGSEGV);
      },
      testing::KilledBySignal(SIGSEGV), "while in plugin 'outer', function 'one'");
  EXPECT_EXIT(
      {
        plugin::install_crash_handler();
        const plugin::Breadcrumb here("here", "one");
        std::thread([] { std::raise(SIGSEGV); }).join();
      },
      testing::KilledBySignal(SIGSEGV),
      "SIGSEGV\\), outside of any plugin; another thread is in plugin 'here', function 'one'");
  EXPECT_EXIT(
      {
        plugin::install_crash_handler();
        { const plugin::Breadcrumb over("over", "one"); }
        std::raise(SIGSEGV);
      },
      testing::KilledBySignal(SIGSEGV), "SIGSEGV\\), outside of any plugin\n");
}

TEST_F(CrashDeathTest, ShutdownDestroysWhatIsLeftNewestFirst) {
  EXPECT_EXIT(
      {
        plugin::set_log_sink([](tetrad::LogLevel, std::string_view, std::string_view text) {
          std::fprintf(stderr, "%.*s;", static_cast<int>(text.size()), text.data());
        });
        plugin::Plugin& good = plugin::load(fixture("good"));
        auto one = plugin::create<Echo>(
            good, "echo", tetrad::Options({{"prefix", std::string("1")}, {"repeat", std::int64_t{1}}}));
        auto two = plugin::create<Echo>(
            good, "echo", tetrad::Options({{"prefix", std::string("2")}, {"repeat", std::int64_t{1}}}));
        plugin::shutdown();
        plugin::shutdown();
        if (one || two) std::exit(1);
        try {
          plugin::load(fixture("good"));
          std::exit(2);
        } catch (const tetrad::Error& e) {
          std::fprintf(stderr, "%s", e.what());
        }
        one.reset();
        std::exit(0);
      },
      testing::ExitedWithCode(0),
      "created;created;destroyed 2;destroyed 1;\\[plugin\\] plugins were shut down");
}
