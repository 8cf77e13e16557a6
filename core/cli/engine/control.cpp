#include "cli/engine/control.h"

#include "cli/engine/soft_stage.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

namespace tetrad::cli {

Control::Control() : channel_(Channel::fd_from_environment()) {
  const std::optional<nlohmann::json> first = channel_.receive();
  if (!first.has_value()) throw Error("[engine] host closed the control channel before sending a run");
  Message message = parse_message(*first);
  auto* run = std::get_if<RunMessage>(&message);
  if (run == nullptr) throw Error("[engine] the first control message is not a run");
  run_ = std::move(*run);
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) throw Error(std::string("[engine] eventfd failed: ") + std::strerror(errno));
  listener_ = std::thread([this] { listen(); });
}

Control::~Control() {
  ::shutdown(channel_.fd(), SHUT_RD);  // wakes the listener
  listener_.join();
  ::close(wake_fd_);
}

void Control::listen() {
  try {
    while (const std::optional<nlohmann::json> message = channel_.receive()) {
      const Message parsed = parse_message(*message);
      if (const auto* soft = std::get_if<SoftMessage>(&parsed)) soft_stage().request(soft->epoch);
      if (!std::holds_alternative<StopMessage>(parsed)) continue;
      interrupt_.store(true);
      const std::uint64_t one = 1;
      const ssize_t written = ::write(wake_fd_, &one, sizeof one);
      static_cast<void>(written);  // full: it is readable already
    }
  } catch (const std::exception&) {
    // A broken channel means that host is gone or lies; the death signal ends the engine in the first case,
    // and in the second nothing that still arrives may be trusted.
  }
}

void Control::phase(const std::string& name, std::optional<std::uint64_t> bytes_now,
                    std::optional<std::uint64_t> bytes_forecast, nlohmann::json details) {
  channel_.send(to_json(PhaseMessage{name, bytes_now, bytes_forecast, std::move(details)}));
}

void Control::status(int exit_code, const std::string& message) {
  channel_.send(to_json(StatusMessage{exit_code, message}));
}

}  // namespace tetrad::cli
