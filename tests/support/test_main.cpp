// The main() of every test program: GoogleTest's, with exit code 77 when no test failed and all of them were
// skipped, so that ctest reports the program as skipped. One skipped test among others neither hides the rest
// nor a failure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  const int result = RUN_ALL_TESTS();
  const testing::UnitTest& unit = *testing::UnitTest::GetInstance();
  const bool all_skipped =
      unit.test_to_run_count() > 0 && unit.skipped_test_count() == unit.test_to_run_count();
  return result == 0 && all_skipped ? 77 : result;
}
