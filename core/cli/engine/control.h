// The engine's end of the control channel to `host`: takes the run message, listens for stop requests on a
// thread of its own, and sends phases and the final status.
#pragma once

#include "cli/protocol/channel.h"
#include "cli/protocol/messages.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

namespace tetrad::cli {

class Control {
 public:
  // Reads the run message. Throws Error(usage) when the engine was not started by host.
  Control();
  ~Control();

  const RunMessage& run() const noexcept { return run_; }

  // Set by a stop request; whoever honours it clears it.
  std::atomic<bool>& interrupt() noexcept { return interrupt_; }
  // An eventfd (non-blocking) that becomes readable with each stop request; whoever waits on it empties it.
  int wake_fd() const noexcept { return wake_fd_; }

  void phase(const std::string& name, std::optional<std::uint64_t> bytes_now = {},
             std::optional<std::uint64_t> bytes_forecast = {},
             nlohmann::json details = nlohmann::json::object());
  void status(int exit_code, const std::string& message);

 private:
  void listen();

  Channel channel_;
  RunMessage run_;
  std::atomic<bool> interrupt_{false};
  int wake_fd_ = -1;
  std::thread listener_;
};

}  // namespace tetrad::cli
