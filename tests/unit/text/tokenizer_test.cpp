#include "text/tokenizer.h"

#include <gtest/gtest.h>

namespace tetrad::text {
namespace {

TEST(Tokenizer, MissingFileIsNamed) {
  try {
    Tokenizer::load("/nonexistent-model");
    FAIL();
  } catch (const std::exception& e) {
    EXPECT_NE(std::string(e.what()).find("/nonexistent-model/tokenizer.json"), std::string::npos);
  }
}

}  // namespace
}  // namespace tetrad::text
