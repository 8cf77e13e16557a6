// The objects that stand before a plugin's own must override every virtual function of their interface: one
// with a default body that was forgotten would compile, and answer in the plugin's place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "support/temp_dir.h"

namespace tetrad::cli {
namespace {

const std::string root = TETRAD_SOURCE_DIR "/core/";

TEST(MarkedPlugin, ForwardsEveryFunctionOfTheInterfaces) {
  const std::string marked = test::read_all(root + "cli/engine/marked_plugin.cpp");
  for (const char* header : {"linear.h", "kv_policy.h", "optimizer.h"}) {
    const std::string text = test::read_all(root + "sdk/include/tetrad/torch/" + header);
    const std::regex declaration("virtual [^;(~]*[ *&](\\w+)\\(");
    int count = 0;
    for (auto it = std::sregex_iterator(text.begin(), text.end(), declaration); it != std::sregex_iterator();
         ++it) {
      ++count;
      const std::string name = (*it)[1];
      EXPECT_THAT(marked, testing::HasSubstr("(plugin_, \"" + name + "\")")) << header;
      EXPECT_THAT(marked, testing::HasSubstr("return object_." + name + "(")) << header;
    }
    EXPECT_GE(count, 11) << header << ": the declarations are not found any more";
  }
}

}  // namespace
}  // namespace tetrad::cli
