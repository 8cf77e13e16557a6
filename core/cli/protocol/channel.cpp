#include "cli/protocol/channel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace tetrad::cli {

using nlohmann::json;

Channel::Channel(int fd) : fd_(fd) {
  ::fcntl(fd_, F_SETFD, FD_CLOEXEC);
}

Channel::~Channel() {
  ::close(fd_);
}

int Channel::fd_from_environment() {
  const char* text = std::getenv(control_fd_variable);
  if (text == nullptr) {
    throw Error(ExitCode::usage,
                fmt::format("[control] {} is not set: this program is started by 'host', which "
                            "takes the same config; run 'host --help'",
                            control_fd_variable));
  }
  int fd = -1;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, fd);
  struct stat info {};
  if (error != std::errc{} || stop != end || fd < 0 || ::fstat(fd, &info) != 0 || !S_ISSOCK(info.st_mode)) {
    throw Error(ExitCode::usage,
                fmt::format("[control] {}='{}' does not name an open socket; start the engine through 'host'",
                            control_fd_variable, text));
  }
  ::unsetenv(control_fd_variable);
  return fd;
}

bool Channel::send(const json& message) {
  const std::string frame = encode_frame(message);
  const std::lock_guard lock(send_mutex_);
  outgoing_ += frame;
  while (!outgoing_.empty() && !peer_gone_) {
    const ssize_t sent = ::send(fd_, outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      outgoing_.erase(0, static_cast<std::size_t>(sent));
    } else if (errno == EPIPE || errno == ECONNRESET) {
      peer_gone_ = true;
    } else if (errno != EINTR) {
      throw Error(fmt::format("[control] sending failed: {}", std::strerror(errno)));
    }
  }
  return !peer_gone_;
}

void Channel::post(const json& message) {
  const std::string frame = encode_frame(message);
  {
    const std::lock_guard lock(send_mutex_);
    outgoing_ += frame;
  }
  flush();
}

bool Channel::flush() {
  const std::lock_guard lock(send_mutex_);
  while (!outgoing_.empty()) {
    const ssize_t sent = ::send(fd_, outgoing_.data(), outgoing_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      outgoing_.erase(0, static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return false;
    } else if (errno != EINTR) {  // the peer is gone: its exit is reported by whoever waits for the process
      peer_gone_ = true;
      outgoing_.clear();
    }
  }
  return true;
}

bool Channel::pending() const {
  const std::lock_guard lock(send_mutex_);
  return !outgoing_.empty();
}

std::optional<json> Channel::receive() {
  return receive_with(0);
}

std::optional<json> Channel::try_receive() {
  return receive_with(MSG_DONTWAIT);
}

std::optional<json> Channel::receive_with(int flags) {
  for (;;) {
    if (auto payload = decoder_.next()) return parse_payload(*payload);
    if (closed_) return std::nullopt;
    std::array<char, 16384> chunk;
    const ssize_t got = ::recv(fd_, chunk.data(), chunk.size(), flags);
    if (got > 0) {
      decoder_.append({chunk.data(), static_cast<std::size_t>(got)});
    } else if (got == 0 || errno == ECONNRESET) {
      closed_ = true;
      if (decoder_.mid_frame()) throw Error("[control] the other side ended in the middle of a message");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return std::nullopt;
    } else if (errno != EINTR) {
      throw Error(fmt::format("[control] receiving failed: {}", std::strerror(errno)));
    }
  }
}

std::pair<int, int> make_channel_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw Error(fmt::format("[control] socketpair failed: {}", std::strerror(errno)));
  }
  return {ends[0], ends[1]};
}

}  // namespace tetrad::cli
