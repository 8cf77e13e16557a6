#include "cli/engine/memory_watch.h"

#include "io/memory.h"

#include <chrono>

namespace tetrad::cli {

MemoryWatch::MemoryWatch()
    : thread_([this] {
        std::unique_lock lock(mutex_);
        while (!stop_) {
          sample();
          wake_.wait_for(lock, std::chrono::milliseconds(20));
        }
      }) {}

MemoryWatch::~MemoryWatch() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

std::uint64_t MemoryWatch::sample() {
  const auto memory = io::host_memory();
  const std::uint64_t now = memory ? memory->host() : 0;
  std::uint64_t peak = peak_.load();
  while (now > peak && !peak_.compare_exchange_weak(peak, now)) {
  }
  return now;
}

}  // namespace tetrad::cli
