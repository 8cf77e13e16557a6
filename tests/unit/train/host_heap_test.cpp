// Memory that was freed between blocks that live on goes back to the system.
#include "cli/engine/host_heap.h"

#include "io/memory.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

namespace tetrad::cli {
namespace {

std::uint64_t held() {
  return io::host_memory()->host();
}

TEST(HostHeap, FreedMemoryBetweenBlocksThatStayGoesBack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's own heap";
#endif
  keep_temporaries();
  constexpr std::size_t block = std::size_t{4} << 20, count = 50;
  std::vector<std::unique_ptr<std::byte[]>> temporary, stays;
  for (std::size_t i = 0; i < count; ++i) {
    temporary.emplace_back(new std::byte[block]);
    std::memset(temporary.back().get(), 1, block);
    stays.emplace_back(new std::byte[1000]);
    std::memset(stays.back().get(), 2, 1000);
  }
  const std::uint64_t full = held();
  temporary.clear();
  const std::uint64_t freed = held();
  EXPECT_GT(freed + count * block / 2, full) << "the heap gives freed blocks back by itself: nothing to test";
  give_back_freed();
  EXPECT_LT(held() + count * block * 9 / 10, full);
  for (const auto& bytes : stays) EXPECT_EQ(bytes[999], std::byte{2});
}

}  // namespace
}  // namespace tetrad::cli
