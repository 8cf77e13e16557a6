#include "cli/supervise/supervisor.h"

#include "cli/protocol/channel.h"
#include "cli/supervise/guard_status.h"
#include "cli/supervise/signals.h"
#include "cli/supervise/terminal.h"
#include "guard/group.h"
#include "guard/guard.h"
#include "guard/keeper.h"
#include "guard/log_lines.h"
#include "guard/post.h"
#include "guard/sample_log.h"
#include "guard/self.h"
#include "guard/settings.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
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
    if (supervision_.limits && !join_outer_guard()) start_guard(program);
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
    if (guard_ && guard_->watches()) {
      standing_ = guard::protect_self();
      note_running(program);
      if (log_) log_->add(guard::start_line(*guard_, child_, command_));
    }
    if (run) {
      RunMessage told = *run;
      // What an engine may take is decided by the guard that ends it.
      if (outer_ && outer_->limit_bytes()) told.guard_limit_bytes = outer_->limit_bytes();
      channel_->post(to_json(told));
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
    outcome.signal = ended_by_;
    if (guard_ && guard_->watches()) {
      outcome.peak_tree_bytes = guard_->state().peak_tree_bytes;
      outcome.lowest_available_bytes = guard_->state().lowest_available_bytes;
      if (opened_ && !supervision_.quiet) note(guard_->last_line());
    }
    if (log_) log_end(outcome.exit_code);
    if (record_) outcome.kill_report = report();
    return outcome;
  }

 private:
  // A guard above us watches our processes already: it takes over what is stricter here.
  bool join_outer_guard() {
    const auto pid = guard::OuterGuard::find();
    if (!pid) return false;
    outer_ = std::make_unique<guard::OuterGuard>(*pid, *supervision_.limits);
    const auto limit = outer_->limit_bytes();
    running_line_ = fmt::format(
        "[guard] under the guard with guard_pid={}, which stays the only one: limit={}", *pid,
        limit ? fmt::format("{} ({})", guard::format_gib(*limit), guard::format_mib(*limit)) : "none");
    return true;
  }

  void start_guard(Program& program) {
    if (!guard::Guard(*supervision_.limits, tree_).watches()) {
      guard_.emplace(*supervision_.limits, tree_);
      return;
    }
    std::vector<std::unique_ptr<guard::SensorFeed>> feeds;
    for (const SensorChoice& sensor : supervision_.sensors)
      feeds.push_back(std::make_unique<guard::SensorFeed>(sensor.id, "/proc/self/exe", sensor.file));
    guard_.emplace(*supervision_.limits, tree_, std::move(feeds));
    if (!supervision_.allow_blind) require_sight();
    group_ = std::make_unique<guard::Group>();
    if (!supervision_.log_file.empty()) {
      constexpr double mib = 1 << 20;
      log_ = std::make_unique<guard::SampleLog>(supervision_.log_file,
                                                static_cast<std::uint64_t>(supervision_.log_mb * mib));
      tree_.exclude(log_->pid());
    }
    keeper_ = std::make_unique<guard::Keeper>(*group_);
    if (keeper_->pid() > 0) tree_.exclude(keeper_->pid());
    program.join_fd = group_->procs_fd();
    post_ = std::make_unique<guard::Post>();
    if (const auto self = guard::read_stat(::getpid())) {
      program.environment.push_back(
          fmt::format("{}={}:{}", guard::guard_variable, self->pid, self->start_ticks));
    }
  }

  // Waits for every sensor's first word, because the config forbids to run where one sees nothing.
  void require_sight() {
    constexpr double longest_secs = 12;
    const std::int64_t end = later(longest_secs);
    for (const auto& feed : guard_->feeds()) {
      while (!feed->answered() && guard::monotonic_ns() < end) {
        feed->update(guard::monotonic_ns());
        ::poll(nullptr, 0, 5);
        reap();
      }
      if (feed->sample() != nullptr && feed->problem().empty()) continue;
      throw Error(ExitCode::guard_blind,
                  fmt::format("[guard] {} cannot observe memory here: {}; nothing was started, because "
                              "guard.allow_blind is false",
                              feed->id(), feed->problem().empty() ? "no answer" : feed->problem()));
    }
  }

  void note_running(const Program& program) {
    constexpr std::size_t longest = 120;
    std::string command = program.file;
    for (const std::string& argument : program.arguments) command += " " + argument;
    if (command.size() > longest) command = command.substr(0, longest) + "...";
    std::replace(command.begin(), command.end(), '\n', ' ');
    command_ = command;
    running_line_ = fmt::format("[guard] running: {} guard_pid={} child_pid={}", command, ::getpid(), child_);
  }

  void open() {
    if (opened_) return;
    opened_ = true;
    if (!log_ && !supervision_.log_file.empty())
      note(fmt::format("[guard] {} is not written: {}", supervision_.log_file,
                       outer_ ? "only the guard above reads memory, and --log there keeps what it reads"
                              : "nothing is watched"));
    if (supervision_.quiet) return;
    if (outer_) {
      note(running_line_);
      return;
    }
    for (const std::string& line : supervision_.opening_lines) note(line);
    if (!guard_ || !guard_->watches()) return;
    note(running_line_);
    if (!standing_.locked && !standing_.refused.empty())
      note("[guard] not permitted here: " + standing_.refused.front());
  }

  void wait_once() {
    std::array<pollfd, 4> fds = {{{signals_.fd(), POLLIN, 0},
                                  {-1, 0, 0},
                                  {post_ ? post_->fd() : -1, POLLIN, 0},
                                  {outer_ && outer_open_ ? outer_->fd() : -1, POLLIN, 0}}};
    if (channel_ && listening_) {
      fds[1].fd = channel_->fd();
      fds[1].events = static_cast<short>(POLLIN | (channel_->pending() ? POLLOUT : 0));
    }
    wait_for(fds);
    if (guard_ && guard_->watches() && guard_->tick()) act();
    if ((fds[1].revents & POLLOUT) != 0) channel_->flush();
    if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) read_messages();
    if (fds[2].revents != 0) serve();
    if (fds[3].revents != 0) hear_outer_guard((fds[3].revents & POLLHUP) != 0);
    take_signals();
    if (kill_at_ns_ && guard::monotonic_ns() >= *kill_at_ns_) force("it did not end in time");
    reap();
  }

  void wait_for(std::array<pollfd, 4>& fds) const {
    std::optional<std::int64_t> next = kill_at_ns_;
    if (guard_ && guard_->watches()) next = std::min(next.value_or(guard_->next_ns()), guard_->next_ns());
    if (!next) {
      ::poll(fds.data(), fds.size(), -1);
      return;
    }
    const std::int64_t left = std::max<std::int64_t>(*next - guard::monotonic_ns(), 0);
    const timespec wait{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
    ::ppoll(fds.data(), fds.size(), &wait, nullptr);
  }

  // What the guard's newest reading asks for.
  void act() {
    const guard::Verdict verdict = guard_->decision().verdict;
    if (verdict == guard::Verdict::kill) {
      guard_kill();
      return;
    }
    if (log_) log_->add(guard::sample_line(*guard_));
    if (keeper_) keeper_->tell(guard_->members());
    if (verdict == guard::Verdict::soft) ask_to_shrink();
    for (const std::string& line : guard_->take_notes()) note(line);
  }

  void serve() {
    post_->serve({[this] { return status().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); },
                  [this](pid_t pid) {
                    tree_.refresh();
                    return std::any_of(tree_.begin(), tree_.end(),
                                       [&](const auto& one) { return one.pid == pid; });
                  },
                  [this] { return guard_->limits().limit_bytes.value_or(0); },
                  [this] { guard_->set_limits(post_->strictest(*supervision_.limits)); }});
  }

  void hear_outer_guard(bool closed) {
    if (outer_->soft() && channel_ && listening_) {
      ++soft_epoch_;
      soft_ns_ = guard::monotonic_ns();
      channel_->post(to_json(SoftMessage{soft_epoch_, 0, 0, outer_->limit_bytes().value_or(0)}));
    }
    if (closed) outer_open_ = false;  // it has ended, and so shall we: its keeper sees to that
  }

  nlohmann::json status() const {
    return guard_status(*guard_, {child_, command_, started_ns_, tree_.size(), standing_, *group_, *keeper_});
  }

  // The soft stage. A program of any kind gets SIGTERM once, the engine a message each time.
  void ask_to_shrink() {
    const guard::Decision& decision = guard_->decision();
    ++soft_epoch_;
    const bool engine = channel_ && listening_;
    const bool passed_on = post_ && post_->send_soft();  // to a host further down
    if (!engine && (passed_on || soft_epoch_ > 1)) return;
    if (engine) {
      channel_->post(to_json(
          SoftMessage{soft_epoch_, decision.bytes.value_or(0), decision.limit_bytes.value_or(0),
                      (decision.rule == guard::Rule::device_limit ? guard_->limits().device_limit_bytes
                                                                  : guard_->limits().limit_bytes)
                          .value_or(0)}));
    } else {
      send(SIGTERM);
    }
    soft_ns_ = guard::monotonic_ns();
    soft_answer_ns_ = 0;
    if (log_)
      log_->add(guard::event_line("soft", {{"to", engine ? "engine" : "SIGTERM"}, {"epoch", soft_epoch_}}));
    open();
    note(fmt::format("[guard] soft limit passed: tree_mem={} soft={}; {}",
                     guard::format_or_unknown(decision.bytes), guard::format_or_unknown(decision.limit_bytes),
                     engine ? "the engine is asked to give memory back" : "SIGTERM to the program"));
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
    if (interrupts_ == 1 && ready_ && listening_ && supervision_.stoppable) {
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
    // First the kill, of all that is known, then everything that may take a moment.
    const bool by_group = group_ && group_->kill();
    tree_.kill_once();
    const std::int64_t sent = guard::monotonic_ns();
    guard_killed_ = true;
    kill_at_ns_.reset();
    record_ = guard_->start_record();
    record_->by_group = by_group;
    record_->started_ns = started_ns_;
    record_->soft_ns = soft_ns_;
    record_->soft_answer_ns = soft_answer_ns_;
    record_->sent_ns = sent;
    guard_line_ = guard_->kill_line();
    if (log_) log_->add(guard::sample_line(*guard_));
    free_memory();
    record_->survivors = kill_tree();
    record_->reaped_ns = record_->survivors == 0 ? guard::monotonic_ns() : 0;
    if (log_) {
      const auto since = [&](std::int64_t ns) {
        return static_cast<double>(ns - record_->decided_ns) * 1e-6;
      };
      log_->add(guard::event_line(
          "kill", {{"rule", guard::rule_name(record_->decision.rule)},
                   {"processes", record_->process_count},
                   {"sent_after_ms", since(record_->sent_ns)},
                   {"all_gone_after_ms", record_->reaped_ns == 0 ? nlohmann::json(nullptr)
                                                                 : nlohmann::json(since(record_->reaped_ns))},
                   {"survivors", record_->survivors}}));
    }
    open();
    note(guard_line_);
  }

  // SIGKILL has been sent to everybody: their memory is to come back before that of others.
  void free_memory() {
    tree_.hasten();
    if (!keeper_) return;
    std::vector<guard::ProcessTree::Member> members(tree_.begin(), tree_.end());
    std::stable_sort(members.begin(), members.end(),
                     [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
    std::vector<GuardProcess> killed;
    for (const auto& member : members) killed.push_back({member.pid, member.start_ticks});
    keeper_->release(killed);
  }

  void log_end(int exit_code) {
    const auto or_null = [](const std::optional<std::uint64_t>& value) {
      return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
    };
    const guard::State& state = guard_->state();
    log_->add(guard::event_line("end", {{"exit_code", exit_code},
                                        {"peak_tree_bytes", or_null(state.peak_tree_bytes)},
                                        {"peak_device_bytes", or_null(state.peak_device_bytes)},
                                        {"lowest_available_bytes", or_null(state.lowest_available_bytes)},
                                        {"dropped_lines", log_->dropped()}}));
  }

  // The report as JSON; written to the wanted file, with the text beside it.
  nlohmann::json report() const {
    nlohmann::json json = guard::to_json(*record_, guard_->ring().list());
    if (supervision_.report_file.empty()) return json;
    const auto write = [](const std::string& file, const std::string& text) {
      std::ofstream out(file, std::ios::trunc);
      out << text;
      if (!out.flush()) note(fmt::format("[guard] the report {} could not be written", file));
    };
    write(supervision_.report_file, json.dump(2) + "\n");
    std::filesystem::path text = supervision_.report_file;
    text = text.extension() == ".json" ? text.replace_extension(".txt") : text += ".txt";
    write(text.string(), guard::to_text(*record_));
    return json;
  }

  std::size_t kill_tree() {
    if (group_) group_->kill();
    const std::size_t alive = tree_.kill_all(
        kill_patience_secs, [](void* self) { static_cast<Supervisor*>(self)->reap(); }, this);
    reap();
    if (alive == 0) return 0;
    note(fmt::format("[host] {} processes cannot be ended (waiting inside the kernel); they are left behind",
                     alive));
    if (!child_status_) child_status_ = SIGKILL;  // the wait status of a process ended by that signal
    return alive;
  }

  void reap() noexcept {
    int status = 0;
    pid_t pid = 0;
    while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid == child_) child_status_ = status;
      if (guard_ && guard_->helper_ended(pid, status)) continue;
      if (keeper_ && pid == keeper_->pid()) {
        tree_.include(pid);
        keeper_->ended();
      }
      if (log_ && pid == log_->pid()) {
        tree_.include(pid);
        if (!log_->ended(status)) note("[guard] the log's writer ended; no more lines are kept");
      }
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
      if (phase->name == "soft_done") {
        answered(*phase);
      } else if (guard_) {
        if (phase->name == "ready" || phase->name == "turn") ++turn_;
        if (phase->name != "input")
          guard_->set_phase(turn_ > 0 ? fmt::format("turn {}", turn_) : phase->name);
      }
      open();
    } else if (const auto* status = std::get_if<StatusMessage>(&message)) {
      status_ = *status;
    }
  }

  // What the engine did in the soft stage.
  void answered(const PhaseMessage& phase) {
    soft_answer_ns_ = guard::monotonic_ns();
    const auto freed = phase.details.find("freed_bytes");
    const bool number = freed != phase.details.end() && freed->is_number_unsigned();
    std::string done;
    if (const auto texts = phase.details.find("done"); texts != phase.details.end() && texts->is_array()) {
      for (const auto& text : *texts)
        if (text.is_string()) done += (done.empty() ? ": " : ", ") + text.get<std::string>();
    }
    note(fmt::format("[guard] soft stage: the engine gave back {} in {:.0f} ms{}",
                     number ? guard::format_mib(freed->get<std::uint64_t>()) : "unknown",
                     static_cast<double>(soft_answer_ns_ - soft_ns_) * 1e-6, done));
  }

  void end_the_rest() {
    reap();
    tree_.refresh();
    const std::size_t left = tree_.size();
    if (left == 0 && !tree_.has_children()) return;  // orphans would be our children
    kill_tree();
    if (left > 0) note(fmt::format("[host] {} processes that were left behind have been ended", left));
  }

  Outcome judge_end() const {
    const auto outcome = [](int code, End end, std::string reason) {
      return Outcome{code, end, 0, std::move(reason), {}, {}, nullptr};
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
  guard::ProcessTree tree_;
  std::optional<guard::Guard> guard_;
  std::unique_ptr<guard::Group> group_;
  std::unique_ptr<guard::SampleLog> log_;
  std::unique_ptr<guard::Keeper> keeper_;
  std::unique_ptr<guard::Post> post_;
  std::unique_ptr<guard::OuterGuard> outer_;
  bool outer_open_ = true;
  std::string command_;
  guard::Standing standing_;
  std::optional<guard::KillRecord> record_;
  std::string running_line_;
  const std::int64_t started_ns_ = guard::monotonic_ns();
  std::int64_t soft_ns_ = 0, soft_answer_ns_ = 0;
  std::uint64_t soft_epoch_ = 0;
  int turn_ = 0;
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
