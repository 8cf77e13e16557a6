#include "cli/supervise/supervisor.h"

#include "cli/protocol/channel.h"
#include "cli/supervise/signals.h"
#include "cli/supervise/terminal.h"
#include "guard/guard.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

namespace tetrad::cli {

namespace {

constexpr double kill_patience_secs = 10;

std::int64_t later(double seconds) {
  return guard::monotonic_ns() + static_cast<std::int64_t>(seconds * 1e9);
}

class Supervisor {
 public:
  Supervisor(Program program, const std::optional<RunMessage>& run, const Supervision& supervision)
      : supervision_(supervision), has_engine_(run.has_value()), tree_(::getpid()) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (supervision_.limits) guard_.emplace(*supervision_.limits, ::getpid());
    int theirs = -1;
    if (has_engine_) {
      const auto [ours, child_end] = make_channel_pair();
      channel_ = std::make_unique<Channel>(ours);
      theirs = child_end;
      program.control_fd = theirs;
      program.ignore_interrupt = true;
    }
    try {
      child_ = spawn(program, signals_.for_child());
    } catch (...) {
      if (theirs >= 0) ::close(theirs);
      throw;
    }
    if (theirs >= 0) ::close(theirs);
    if (run) {
      channel_->post(to_json(*run));
    } else {
      open();
    }
  }

  Outcome run() {
    while (!child_status_) wait_once();
    read_messages();
    end_the_rest();
    const bool violent = WIFSIGNALED(*child_status_);
    terminal_.restore(violent ? TerminalState::After::violent : TerminalState::After::orderly);
    Outcome outcome = judge_end();
    if (guard_ && guard_->watches()) {
      outcome.peak_tree_bytes = guard_->state().peak_tree_bytes;
      outcome.lowest_available_bytes = guard_->state().lowest_available_bytes;
      if (opened_) note(guard_->last_line());
    }
    return outcome;
  }

 private:
  void open() {
    if (opened_) return;
    opened_ = true;
    for (const std::string& line : supervision_.opening_lines) note(line);
  }

  void wait_once() {
    pollfd fds[2] = {{signals_.fd(), POLLIN, 0}, {-1, 0, 0}};
    if (channel_ && listening_) {
      fds[1].fd = channel_->fd();
      fds[1].events = static_cast<short>(POLLIN | (channel_->pending() ? POLLOUT : 0));
    }
    ::poll(fds, 2, timeout_ms());
    if (guard_ && guard_->watches() && guard_->tick()) guard_kill();
    if ((fds[1].revents & POLLOUT) != 0) channel_->flush();
    if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) read_messages();
    take_signals();
    if (kill_at_ns_ && guard::monotonic_ns() >= *kill_at_ns_) force("it did not end in time");
    reap();
  }

  int timeout_ms() const {
    std::optional<std::int64_t> next = kill_at_ns_;
    if (guard_ && guard_->watches()) next = std::min(next.value_or(guard_->next_ns()), guard_->next_ns());
    if (!next) return -1;
    const std::int64_t left_ms = (*next - guard::monotonic_ns() + 999'999) / 1'000'000;
    return static_cast<int>(std::clamp<std::int64_t>(left_ms, 0, 60'000));
  }

  void take_signals() {
    while (const auto info = signals_.next()) {
      const int signal = static_cast<int>(info->ssi_signo);
      const bool by_terminal = info->ssi_code == SI_KERNEL;  // then the child, in our group, has got it too
      switch (signal) {
        case SIGINT:
          read_messages();  // whether it is the first of its generation depends on those sent before it
          interrupt(by_terminal);
          break;
        case SIGTERM:
        case SIGHUP:
          end(signal, by_terminal, supervision_.term_grace_secs);
          break;
        case SIGQUIT:
          if (!by_terminal) send(SIGQUIT);
          break;
        case SIGTSTP:
          if (!by_terminal) send(SIGTSTP);
          if (has_engine_)
            terminal_.restore(TerminalState::After::stopped);  // it may have been editing a line
          signals_.stop_ourselves();
          send(SIGCONT);
          break;
        default:
          break;  // SIGCHLD: reap() follows
      }
    }
  }

  void interrupt(bool by_terminal) {
    if (!has_engine_) {
      if (!by_terminal) send(SIGINT);
      return;
    }
    ++interrupts_;
    if (interrupts_ == 1 && ready_ && listening_) {
      channel_->post(to_json(StopMessage{"interrupt"}));
      return;
    }
    if (ended_by_ == SIGINT) {
      force("Ctrl-C came again");
      return;
    }
    ended_by_ = SIGINT;
    send(SIGTERM);
    kill_at_ns_ = later(supervision_.interrupt_grace_secs);
  }

  // Passes an ending signal on. A plain command may mean to outlive SIGHUP; the engine may not.
  void end(int signal, bool by_terminal, double grace_secs) {
    if (!by_terminal) send(signal);
    if (signal == SIGHUP && !has_engine_) return;
    if (ended_by_ == 0) ended_by_ = signal;
    if (!kill_at_ns_) kill_at_ns_ = later(grace_secs);
  }

  void send(int signal) const noexcept {
    if (child_status_) return;
    ::kill(child_, signal);
    if (signal == SIGTERM || signal == SIGHUP)
      ::kill(child_, SIGCONT);  // a stopped process ends only once it runs
  }

  void force(const char* why) {
    kill_at_ns_.reset();
    forced_ = true;
    kill_tree();
    note(fmt::format("[host] killed: {}", why));
  }

  void guard_kill() {
    const std::string line = guard_->kill_line();
    guard_killed_ = true;
    guard_line_ = line;
    kill_at_ns_.reset();
    kill_tree();
    open();
    note(line);
  }

  void kill_tree() {
    const std::size_t alive = tree_.kill_all(
        kill_patience_secs, [](void* self) { static_cast<Supervisor*>(self)->reap(); }, this);
    reap();
    if (alive == 0) return;
    note(fmt::format("[host] {} processes cannot be ended (waiting inside the kernel); they are left behind",
                     alive));
    if (!child_status_) child_status_ = SIGKILL;  // the wait status of a process ended by that signal
  }

  void reap() noexcept {
    int status = 0;
    pid_t pid = 0;
    while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid == child_) child_status_ = status;
    }
  }

  void read_messages() {
    if (!channel_ || !listening_) return;
    try {
      while (const auto raw = channel_->try_receive()) take(parse_message(*raw));
      if (channel_->closed()) listening_ = false;
    } catch (const Error& e) {
      listening_ = false;
      // An engine that was killed may have been in the middle of a message; anything else is a defect worth a
      // line.
      if (!child_status_ && !guard_killed_ && !forced_)
        note(fmt::format("[host] the engine's messages are no longer read: {}", e.what()));
    }
  }

  void take(const Message& message) {
    if (const auto* phase = std::get_if<PhaseMessage>(&message)) {
      // "turn" ends one, "input": a person goes on at the prompt. Two Ctrl-C count together only in between.
      if (phase->name == "ready" || phase->name == "turn" || phase->name == "input") {
        ready_ = true;
        interrupts_ = 0;
      }
      open();
    } else if (const auto* status = std::get_if<StatusMessage>(&message)) {
      status_ = *status;
    }
  }

  void end_the_rest() {
    reap();
    if (::waitpid(-1, nullptr, WNOHANG) < 0) return;  // no child is left, and orphans would be our children
    tree_.refresh();
    const std::size_t left = tree_.size();
    kill_tree();
    if (left > 0) note(fmt::format("[host] {} processes that were left behind have been ended", left));
  }

  Outcome judge_end() const {
    const auto outcome = [](int code, End end, std::string reason) {
      return Outcome{code, end, std::move(reason), {}, {}};
    };
    if (guard_killed_) return outcome(static_cast<int>(ExitCode::guard_killed), End::guard, guard_line_);
    if (WIFSIGNALED(*child_status_)) {
      const int signal = WTERMSIG(*child_status_);
      if (ended_by_ != 0 && (signal == SIGTERM || signal == SIGKILL || signal == ended_by_)) {
        return outcome(128 + ended_by_, End::interrupted,
                       fmt::format("signal {} ({})", ended_by_, ::strsignal(ended_by_)));
      }
      const std::string reason = fmt::format(
          "[host] the {} was ended by signal {} ({}){}", has_engine_ ? "engine" : "program", signal,
          ::strsignal(signal), signal == SIGKILL ? "; the kernel may have run out of memory" : "");
      note("error: " + reason);
      return outcome(128 + signal, End::crashed, reason);
    }
    const int code = WEXITSTATUS(*child_status_);
    if (has_engine_ && !status_) {
      const std::string reason =
          fmt::format("[host] the engine ended with exit code {} without its last message", code);
      note("error: " + reason);
      return outcome(code == 0 ? static_cast<int>(ExitCode::runtime) : code, End::crashed, reason);
    }
    return outcome(code, End::ended, status_ ? status_->message : "");
  }

  const Supervision& supervision_;
  bool has_engine_;
  TerminalState terminal_;
  SignalFeed signals_;
  std::unique_ptr<Channel> channel_;
  bool listening_ = true;
  std::optional<guard::Guard> guard_;
  guard::ProcessTree tree_;
  pid_t child_ = -1;
  std::optional<int> child_status_;
  std::optional<StatusMessage> status_;
  std::optional<std::int64_t> kill_at_ns_;
  int ended_by_ = 0;
  int interrupts_ = 0;
  bool opened_ = false;
  bool ready_ = false;
  bool forced_ = false;
  bool guard_killed_ = false;
  std::string guard_line_;
};

}  // namespace

Outcome supervise(Program program, const std::optional<RunMessage>& run, const Supervision& supervision) {
  return Supervisor(std::move(program), run, supervision).run();
}

}  // namespace tetrad::cli
