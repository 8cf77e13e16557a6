#include "guard/post.h"

#include "guard/proc.h"
#include "guard/tree.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace tetrad::guard {

namespace {

constexpr std::size_t most_clients = 16;
constexpr std::size_t longest_request = 256;
constexpr std::string_view name_prefix = "tetrad-guard-";

socklen_t address_of(pid_t pid, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  const std::string name = fmt::format("{}{}", name_prefix, pid);
  std::memcpy(address.sun_path + 1, name.data(), name.size());  // a leading zero: the abstract namespace
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

int connect_to(pid_t pid) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un address;
  const socklen_t size = address_of(pid, address);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0) return fd;
  if (fd >= 0) ::close(fd);
  return -1;
}

bool send_all(int fd, std::string_view text) {
  return ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(text.size());
}

// One line, waiting for it; nothing at the end of time or stream.
std::optional<std::string> read_line(int fd, double timeout_secs) {
  const std::int64_t end = monotonic_ns() + static_cast<std::int64_t>(timeout_secs * 1e9);
  std::string text;
  for (;;) {
    const std::size_t newline = text.find('\n');
    if (newline != std::string::npos) return text.substr(0, newline);
    const std::int64_t left_ms = (end - monotonic_ns()) / 1'000'000;
    pollfd entry{fd, POLLIN, 0};
    if (left_ms <= 0 || ::poll(&entry, 1, static_cast<int>(left_ms)) <= 0) return std::nullopt;
    char buffer[4096];
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return std::nullopt;
    if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
  }
}

}  // namespace

Post::Post() {
  socket_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  sockaddr_un address;
  const socklen_t size = address_of(::getpid(), address);
  epoll_event event{EPOLLIN, {}};
  event.data.fd = socket_;
  const bool good = socket_ >= 0 && epoll_ >= 0 &&
                    ::bind(socket_, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                    ::listen(socket_, 8) == 0 && ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket_, &event) == 0;
  if (good) return;
  if (socket_ >= 0) ::close(socket_);
  if (epoll_ >= 0) ::close(epoll_);
  socket_ = epoll_ = -1;
}

Post::~Post() {
  for (const Client& client : clients_) ::close(client.fd);
  if (socket_ >= 0) ::close(socket_);
  if (epoll_ >= 0) ::close(epoll_);
}

void Post::accept_one() {
  const int fd = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  ucred peer{};
  socklen_t size = sizeof peer;
  const bool known = ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  epoll_event event{EPOLLIN, {}};
  event.data.fd = fd;
  if (!known || (peer.uid != ::geteuid() && peer.uid != 0) || clients_.size() == most_clients ||
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
    ::close(fd);
    return;
  }
  clients_.push_back({fd, peer.pid, {}, false, 0, 0});
}

// Reads what has come and answers a complete line. False: this client is done with.
bool Post::answer(Client& client, const Answers& answers) {
  char buffer[512];
  const ssize_t got = ::recv(client.fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  client.text.append(buffer, static_cast<std::size_t>(got));
  const std::size_t newline = client.text.find('\n');
  if (newline == std::string::npos) return client.text.size() < longest_request;
  std::istringstream words(client.text.substr(0, newline));
  client.text.erase(0, newline + 1);
  std::string word;
  words >> word;
  if (word == "status") {
    send_all(client.fd, answers.status() + "\n");
    return false;
  }
  if (word != "limits" || !answers.in_tree(client.pid)) return false;
  if (!(words >> client.limit_bytes >> client.floor_bytes)) return false;
  client.holds = true;
  answers.changed();
  return send_all(client.fd, fmt::format("ok {}\n", answers.limit()));
}

void Post::serve(const Answers& answers) noexcept {
  try {
    epoll_event events[8];
    const int count = ::epoll_wait(epoll_, events, 8, 0);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == socket_) {
        accept_one();
        continue;
      }
      const auto client = std::find_if(clients_.begin(), clients_.end(),
                                       [&](const Client& one) { return one.fd == events[i].data.fd; });
      if (client == clients_.end() || answer(*client, answers)) continue;
      const bool held = client->holds;
      ::close(client->fd);
      clients_.erase(client);
      if (held) answers.changed();
    }
  } catch (const std::exception&) {
    // Out of memory: whoever asked gets no answer; the watching goes on.
  }
}

Limits Post::strictest(const Limits& own) const noexcept {
  Limits limits = own;
  for (const Client& client : clients_) {
    if (!client.holds) continue;
    limits.host_floor_bytes = std::max(limits.host_floor_bytes, client.floor_bytes);
    if (client.limit_bytes == 0) continue;
    limits.limit_bytes = std::min(limits.limit_bytes.value_or(client.limit_bytes), client.limit_bytes);
    if (limits.soft_bytes && *limits.soft_bytes >= *limits.limit_bytes)
      limits.soft_bytes = *limits.limit_bytes - *limits.limit_bytes / 10;
  }
  return limits;
}

bool Post::send_soft() noexcept {
  bool heard = false;
  for (const Client& client : clients_) {
    if (client.holds && send_all(client.fd, "soft\n")) heard = true;
  }
  return heard;
}

std::optional<std::string> ask_status(pid_t guard, double timeout_secs) {
  const int fd = connect_to(guard);
  if (fd < 0) return std::nullopt;
  std::optional<std::string> line;
  if (send_all(fd, "status\n")) line = read_line(fd, timeout_secs);
  ::close(fd);
  return line;
}

std::vector<pid_t> find_guards() {
  std::vector<pid_t> pids;
  std::ifstream in("/proc/net/unix");
  for (std::string line; std::getline(in, line);) {
    const std::size_t at = line.find("@" + std::string(name_prefix));
    if (at == std::string::npos) continue;
    const char* first = line.data() + at + 1 + name_prefix.size();
    pid_t pid = 0;
    const auto [stop, error] = std::from_chars(first, line.data() + line.size(), pid);
    if (error == std::errc{} && stop == line.data() + line.size()) pids.push_back(pid);
  }
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());  // accepted connections show the name too
  return pids;
}

std::optional<pid_t> OuterGuard::find() {
  const char* value = std::getenv(guard_variable);
  if (value == nullptr) return std::nullopt;
  std::istringstream words(value);
  pid_t pid = 0;
  char colon = 0;
  std::uint64_t start_ticks = 0;
  if (!(words >> pid >> colon >> start_ticks) || colon != ':') return std::nullopt;
  constexpr int most_generations = 1000;
  pid_t at = ::getppid();
  for (int i = 0; i < most_generations && at > 0; ++i) {
    const auto stat = read_stat(at);
    if (!stat) return std::nullopt;
    if (at == pid) return stat->start_ticks == start_ticks ? std::optional(pid) : std::nullopt;
    at = stat->parent;
  }
  return std::nullopt;
}

OuterGuard::OuterGuard(pid_t pid, const Limits& limits) : pid_(pid), fd_(connect_to(pid)) {
  const std::string request =
      fmt::format("limits {} {}\n", limits.limit_bytes.value_or(0), limits.host_floor_bytes);
  std::optional<std::string> reply;
  if (fd_ >= 0 && send_all(fd_, request)) reply = read_line(fd_, 2);
  std::uint64_t bytes = 0;
  if (!reply || !reply->starts_with("ok ") ||
      std::from_chars(reply->data() + 3, reply->data() + reply->size(), bytes).ec != std::errc{}) {
    if (fd_ >= 0) ::close(fd_);
    throw Error(
        fmt::format("[guard] this runs under the guard with guard_pid={}, but that guard gives no answer; "
                    "unset {} to be guarded apart from it",
                    pid, guard_variable));
  }
  if (bytes > 0) limit_ = bytes;
}

OuterGuard::~OuterGuard() {
  ::close(fd_);
}

bool OuterGuard::soft() noexcept {
  char buffer[256];
  const ssize_t got = ::recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
  return got > 0 &&
         std::string_view(buffer, static_cast<std::size_t>(got)).find("soft") != std::string_view::npos;
}

}  // namespace tetrad::guard
