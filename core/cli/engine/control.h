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

  void phase(const std::string& name, std::optional<std::uint64_t> bytes_now = {},
             std::optional<std::uint64_t> bytes_forecast = {},
             nlohmann::json details = nlohmann::json::object());
  void status(int exit_code, const std::string& message);

 private:
  void listen();

  Channel channel_;
  RunMessage run_;
  std::atomic<bool> interrupt_{false};
  std::thread listener_;
};

}  // namespace tetrad::cli
