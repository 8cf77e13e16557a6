// Memory over a long answer on the CPU, counted by an allocator of the test's own: decoding costs its keys
// and values and nothing else, with the eval cache and without; loading needs one tensor above what stays.
#include <ATen/Parallel.h>
#include <ATen/ops/argmax.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "model/weight_bytes.h"
#include "support/nvfp4_rig.h"

namespace tetrad {
namespace {

// libtorch's own allocator with a count of what is alive; tensors may be freed on any thread.
class CountingAllocator final : public c10::Allocator {
 public:
  at::DataPtr allocate(std::size_t bytes) override {
    void* data = below_->raw_allocate(bytes);
    if (data == nullptr) return {nullptr, nullptr, &release, at::Device(at::kCPU)};
    {
      const std::lock_guard<std::mutex> hold(mutex_);
      sizes_[data] = static_cast<std::int64_t>(bytes);
      live += static_cast<std::int64_t>(bytes);
      peak = std::max(peak, live);
    }
    return {data, data, &release, at::Device(at::kCPU)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  static inline std::int64_t live = 0, peak = 0;

 private:
  static void release(void* data) {
    if (data == nullptr) return;
    {
      const std::lock_guard<std::mutex> hold(mutex_);
      live -= sizes_.at(data);
      sizes_.erase(data);
    }
    below_->raw_deallocate(data);
  }
  static inline std::mutex mutex_;
  static inline std::unordered_map<void*, std::int64_t> sizes_;
  static inline c10::Allocator* below_ = c10::GetDefaultCPUAllocator();
};

void count() {
  static CountingAllocator allocator;
  static const bool set = [] {
    c10::SetCPUAllocator(&allocator, 200);
    at::set_num_threads(1);
    return true;
  }();
  ASSERT_TRUE(set);
}

TEST(Growth, AThousandTokensCostTheirKeysAndValues) {
  count();
  std::vector<std::int32_t> texts[2];
  for (const bool cache : {true, false}) {
    test::RigChoice choice;
    choice.eval_cache = cache;
    choice.positions = 1200;
    test::Nvfp4Rig rig(at::kCPU, choice);
    std::vector<std::int32_t>& text = texts[cache ? 1 : 0];
    at::Tensor logits = rig.context->feed(test::rig_ids(20));
    const auto decode = [&](int tokens) {
      for (int i = 0; i < tokens; ++i) {
        text.push_back(static_cast<std::int32_t>(at::argmax(logits).item<std::int64_t>()));
        logits = rig.context->feed(std::span(text).last(1));
      }
    };
    decode(16);
    const std::int64_t before = CountingAllocator::live, kv_before = rig.context->kv_memory().reserved_bytes;
    CountingAllocator::peak = before;
    decode(1000);
    const std::int64_t kv = rig.context->kv_memory().reserved_bytes - kv_before;
    EXPECT_GT(kv, 3 * 900 * 2 * 2 * 64 * 2);  // layers, tokens, keys and values, heads, dim, bytes
    // The table of rotations doubles twice: cos and sin of 32 angles a position.
    const std::int64_t rotations = (2048 - 512) * 2 * 32 * 2;
    EXPECT_EQ(CountingAllocator::live - before, kv + rotations);
    // What a step needs besides, and one layer's keys and values while they move.
    EXPECT_LE(CountingAllocator::peak - before, kv + rotations + (1 << 20));
    EXPECT_EQ(rig.backend.memory().eval_cache_bytes > 0, cache);
  }
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_EQ(texts[0].size(), 1016U);
}

TEST(Growth, LoadingNeedsOneTensorAboveWhatStays) {
  count();
  std::int64_t held[2] = {};
  for (const bool planes : {true, false}) {
    test::RigChoice choice;
    choice.residency = planes ? "planes" : "dense";
    choice.hidden = 512;
    choice.intermediate = 1024;
    const auto weights = test::tiny_weights(test::rig_config(choice));
    const std::int64_t before = CountingAllocator::live;
    CountingAllocator::peak = before;
    const test::Nvfp4Rig rig(at::kCPU, choice, weights);
    const model::WeightBytes bytes = model::weight_bytes(rig.transformer->parameters());
    held[planes ? 1 : 0] = bytes.total();
    EXPECT_EQ(bytes.planes > 0, planes);
    const std::int64_t largest = 1024 * 512 * 2;
    EXPECT_LE(CountingAllocator::peak - before, bytes.total() + largest * 3 / 2)
        << (planes ? "planes" : "dense");
    EXPECT_NEAR(static_cast<double>(CountingAllocator::live - before), static_cast<double>(bytes.total()),
                65536.0);
  }
  EXPECT_LT(3 * held[1], held[0] + (1 << 20)) << "the embedding stays dense";
}

}  // namespace
}  // namespace tetrad
