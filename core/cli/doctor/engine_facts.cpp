#include "cli/doctor/engine_facts.h"

#include "cli/doctor/probe.h"
#include "cli/protocol/channel.h"
#include "cli/supervise/spawn.h"
#include "guard/tree.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

namespace tetrad::cli {

struct EngineQuestion::State {
  std::string command;
  std::unique_ptr<Channel> channel;
  pid_t pid = -1;
  int errors = -1;  // the engine's stderr
  std::string problem;

  // The last line that the engine wrote to stderr: a loader's complaint about a missing library, for
  // instance.
  std::string last_words() const {
    std::array<char, 4096> text;
    const ssize_t got = ::read(errors, text.data(), text.size());
    if (got <= 0) return {};
    std::string words(text.data(), static_cast<std::size_t>(got));
    while (!words.empty() && words.back() == '\n') words.pop_back();
    return words.substr(words.rfind('\n') + 1);
  }
};

EngineQuestion::EngineQuestion(const std::string& engine, const RunMessage& run) : state_(new State) {
  state_->command = run.command;
  int errors[2];
  if (::pipe2(errors, O_CLOEXEC | O_NONBLOCK) != 0) {
    state_->problem = "no pipe";
    return;
  }
  state_->errors = errors[0];
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  int theirs = -1;
  try {
    const auto [ours, child_end] = make_channel_pair();
    theirs = child_end;
    state_->channel = std::make_unique<Channel>(ours);
    SignalSettings signals{};
    ::sigprocmask(SIG_SETMASK, nullptr, &signals.mask);
    Program program;
    program.file = engine;
    program.control_fd = theirs;
    program.stdio = {nothing, nothing, errors[1]};
    state_->pid = spawn(program, signals);
    state_->channel->post(to_json(run));
  } catch (const Error& e) {
    state_->problem = e.what();
  }
  for (const int fd : {nothing, theirs, errors[1]}) {
    if (fd >= 0) ::close(fd);
  }
}

EngineQuestion::~EngineQuestion() {
  if (state_->pid > 0) abandon(state_->pid);
  if (state_->errors >= 0) ::close(state_->errors);
  delete state_;
}

EngineAnswer EngineQuestion::collect(std::int64_t deadline_ns) {
  if (state_->pid <= 0) return {std::nullopt, state_->problem};
  Channel& channel = *state_->channel;
  try {
    for (;;) {
      const std::int64_t left = deadline_ns - guard::monotonic_ns();
      if (left <= 0) return {std::nullopt, "no answer in time"};
      pollfd entry{channel.fd(), static_cast<short>(POLLIN | (channel.pending() ? POLLOUT : 0)), 0};
      ::poll(&entry, 1, static_cast<int>(std::clamp<std::int64_t>(left / 1'000'000, 1, 60'000)));
      channel.flush();
      while (const auto raw = channel.try_receive()) {
        const Message message = parse_message(*raw);
        if (const auto* phase = std::get_if<PhaseMessage>(&message);
            phase != nullptr && phase->name == state_->command) {
          return {phase->details, {}};
        }
        if (const auto* status = std::get_if<StatusMessage>(&message)) {
          return {std::nullopt,
                  status->message.empty() ? "the engine ended without an answer" : status->message};
        }
      }
      if (channel.closed()) {
        const std::string words = state_->last_words();
        return {std::nullopt, "the engine ended before it answered" + (words.empty() ? "" : ": " + words)};
      }
    }
  } catch (const Error& e) {
    return {std::nullopt, e.what()};
  }
}

}  // namespace tetrad::cli
