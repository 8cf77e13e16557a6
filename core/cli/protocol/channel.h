// One end of the control socketpair between launcher and engine: whole JSON messages over an owned, connected
// stream socket. send() and receive() may be used from different threads at once; several senders are
// serialised. SIGPIPE is never raised. The descriptor itself stays blocking (it is shared with nobody): each
// call chooses to wait or not.
#pragma once

#include "cli/protocol/frame.h"

#include <nlohmann/json.hpp>

#include <mutex>
#include <optional>
#include <string>
#include <utility>

namespace tetrad::cli {

// Name of the environment variable that carries the engine's descriptor number.
inline constexpr const char* control_fd_variable = "TETRAD_CONTROL_FD";

class Channel {
 public:
  // Takes ownership of fd and marks it close-on-exec.
  explicit Channel(int fd);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Engine side: the descriptor number of control_fd_variable, which is removed from the environment.
  // Throws Error(usage) when the variable is absent or does not name a socket: the engine was not started by
  // host.
  static int fd_from_environment();

  int fd() const noexcept { return fd_; }

  // Sends the whole message, waiting as long as it takes. False when the peer is gone; throws Error on other
  // failures.
  bool send(const nlohmann::json& message);

  // Queues the message and sends what fits without waiting; flush() sends more. For a poll loop that must not
  // hang on a peer that reads nothing: wait for POLLOUT while pending().
  void post(const nlohmann::json& message);
  bool flush();  // true when nothing is left to send (or the peer is gone)
  bool pending() const;

  // The next message, waiting for it. Nothing at the end of the stream (the peer closed or died).
  // Throws Error on a malformed or truncated frame.
  std::optional<nlohmann::json> receive();

  // The next message if one is already here; nothing otherwise, without waiting. After the end of the stream
  // closed() is true and nothing more comes. `keep_going` style loop: while (auto m = try_receive()) ...
  std::optional<nlohmann::json> try_receive();
  bool closed() const noexcept { return closed_; }

 private:
  std::optional<nlohmann::json> receive_with(int flags);

  int fd_;
  bool closed_ = false;  // read side ended; touched by the receiving thread only
  FrameDecoder decoder_;
  mutable std::mutex send_mutex_;
  std::string outgoing_;
  bool peer_gone_ = false;
};

// A connected pair {launcher end, engine end}, both close-on-exec. Throws Error when the system refuses.
std::pair<int, int> make_channel_pair();

}  // namespace tetrad::cli
