// A block of a CUDA kernel run by one CPU thread, for tests of kernels whose difficulty is in their order:
// each lane is a fiber that runs until it has to wait, warps are taken up in a random order that a seed
// decides. What a kernel needs of CUDA's language stands here; its instructions (mma, copies, barriers) are
// replaced by headers of the same names beside this one, which come first in the include path.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__
#define __grid_constant__
#define __launch_bounds__(...)

struct uint2 {
  unsigned x, y;
};
struct uint4 {
  unsigned x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
struct EmulatedDim {
  unsigned x = 0;
};
inline EmulatedDim threadIdx, blockIdx, blockDim, gridDim;
using std::min;

namespace tetrad::emulated {

inline constexpr int kWarp = 32;
inline constexpr std::size_t kSharedBytes = std::size_t{228} * 1024;

struct Lane {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(std::size_t{128} * 1024);
  bool done = false;
};

// What the lanes of a warp hand to one another in a collective operation.
struct Warp {
  int arrived = 0;
  int rounds = 0;
  std::uint32_t a[kWarp][4], b[kWarp][2];
  float c[kWarp][4];
  unsigned votes = 0;
};

class Block {
 public:
  // Runs `kernel` in `threads` threads to the end; throws what a lane throws, or if they wait for one another
  // for ever.
  void run(int threads, unsigned seed, const std::function<void()>& kernel) {
    kernel_ = kernel;
    lanes_.clear();
    warps_.assign(static_cast<std::size_t>(threads / kWarp), Warp{});
    arrived_ = 0;
    for (int i = 0; i < threads; ++i) {
      Lane& lane = *lanes_.emplace_back(std::make_unique<Lane>());
      getcontext(&lane.context);
      lane.context.uc_stack.ss_sp = lane.stack.data();
      lane.context.uc_stack.ss_size = lane.stack.size();
      lane.context.uc_link = &scheduler_;
      makecontext(&lane.context, &Block::enter, 0);
    }
    blockDim.x = static_cast<unsigned>(threads);
    std::mt19937 rng(seed);
    int left = threads;
    for (int idle = 0; left > 0; ++idle) {
      if (idle > 200000) throw std::runtime_error("the warps of a block wait for one another");
      const std::size_t warp = rng() % warps_.size();
      for (std::size_t i = warp * kWarp; i < (warp + 1) * kWarp; ++i) {
        if (lanes_[i]->done) continue;
        idle = progress_ ? 0 : idle;
        progress_ = false;
        current_ = i;
        threadIdx.x = static_cast<unsigned>(i);
        swapcontext(&scheduler_, &lanes_[i]->context);
        if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
        if (lanes_[i]->done) {
          --left;
          progress_ = true;
        }
      }
    }
  }

  // Called by a lane: lets others run.
  void yield() { swapcontext(&lanes_[current_]->context, &scheduler_); }
  void note_progress() { progress_ = true; }
  Warp& warp() { return warps_[current_ / kWarp]; }
  static int lane() { return static_cast<int>(threadIdx.x % kWarp); }

  // All lanes of the warp meet; the last to come runs `together`.
  template <class F>
  void meet(F&& together) {
    Warp& w = warp();
    const int round = w.rounds;
    if (++w.arrived == kWarp) {
      together(w);
      w.arrived = 0;
      ++w.rounds;
      progress_ = true;
    } else {
      while (w.rounds == round) yield();
    }
  }

  void meet_all() {
    const int round = rounds_;
    if (++arrived_ == static_cast<int>(lanes_.size())) {
      arrived_ = 0;
      ++rounds_;
      progress_ = true;
    } else {
      while (rounds_ == round) yield();
    }
  }

 private:
  static void enter();

  std::function<void()> kernel_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Warp> warps_;
  ucontext_t scheduler_{};
  std::size_t current_ = 0;
  int arrived_ = 0, rounds_ = 0;
  bool progress_ = false;
  std::exception_ptr failure_;  // of a lane
};

inline Block block;

inline void Block::enter() {
  const std::size_t self = block.current_;
  try {
    block.kernel_();
  } catch (...) {
    block.failure_ = std::current_exception();
  }
  block.lanes_[self]->done = true;
}

}  // namespace tetrad::emulated

inline void __syncwarp() {
  tetrad::emulated::block.meet([](auto&) {});
}
inline void __syncthreads() {
  tetrad::emulated::block.meet_all();
}
inline unsigned __ballot_sync(unsigned, bool vote) {
  using tetrad::emulated::block;
  tetrad::emulated::Warp& w = block.warp();
  if (w.arrived == 0) w.votes = 0;
  w.votes |= static_cast<unsigned>(vote) << tetrad::emulated::Block::lane();
  block.meet([](auto&) {});
  const unsigned votes = w.votes;
  block.meet([](auto&) {});
  return votes;
}
inline int __shfl_sync(unsigned, int value, int) {
  return value;  // of kernels that ask for what every lane has
}
inline bool __any_sync(unsigned mask, bool vote) {
  return __ballot_sync(mask, vote) != 0;
}
