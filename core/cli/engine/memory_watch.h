// Highest host memory (anonymous + shared pages) of this process while the object lives, sampled by a thread:
// the kernel's own high-water mark counts file-backed pages too, and mapped weights would drown the figure.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace tetrad::cli {

class MemoryWatch {
 public:
  MemoryWatch();
  ~MemoryWatch();

  // Bytes now; also taken into the peak. 0 where the kernel does not tell.
  std::uint64_t sample();
  std::uint64_t peak() const noexcept { return peak_.load(); }

 private:
  std::atomic<std::uint64_t> peak_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace tetrad::cli
