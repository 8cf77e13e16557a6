// A stand-in for tetrad-engine that does what its prompt says, so that every way an engine can end or
// misbehave is tested without a model. Orders:
//   exit N | silent N | signal N | echo | hang | loading | ignore-term | hog MIB | nested-hog MIB |
//   soft MIB | leave-child | stops | garbage | terminal | read | facts
#include "cli/protocol/channel.h"
#include "cli/protocol/messages.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>

using namespace tetrad::cli;

namespace {

[[noreturn]] void sleep_forever() {
  for (;;) ::pause();
}

void say(const std::string& line) {
  std::cout << line << std::endl;
}

// Takes 4 MiB at a time, so that the guard can meet it on the way.
void hog(long mib) {
  for (long taken = 0; taken < mib; taken += 4) {
    void* at = ::mmap(nullptr, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(at, 1, 4 << 20);
    ::poll(nullptr, 0, 2);
  }
}

int finish(Channel& channel, int code, const std::string& message = {}) {
  channel.send(to_json(StatusMessage{code, message}));
  return code;
}

void facts() {
  struct sigaction interrupt {};
  ::sigaction(SIGINT, nullptr, &interrupt);
  struct sigaction pipe {};
  ::sigaction(SIGPIPE, nullptr, &pipe);
  int death_signal = 0;
  ::prctl(PR_GET_PDEATHSIG, &death_signal);
  sigset_t mask;
  ::sigprocmask(SIG_SETMASK, nullptr, &mask);
  int blocked = 0;
  for (int signal = 1; signal < 32; ++signal) blocked += ::sigismember(&mask, signal) == 1 ? 1 : 0;
  int open_fds = 0;
  for (int fd = 3; fd < 64; ++fd) open_fds += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  say("sigint_ignored=" + std::to_string(interrupt.sa_handler == SIG_IGN) + " sigpipe_default=" +
      std::to_string(pipe.sa_handler == SIG_DFL) + " death_signal=" + std::to_string(death_signal) +
      " blocked=" + std::to_string(blocked) + " extra_fds=" + std::to_string(open_fds) +
      " same_group=" + std::to_string(::getpgrp() == ::getpgid(::getppid())));
}

void spoil_terminal() {
  termios settings{};
  ::tcgetattr(STDIN_FILENO, &settings);
  settings.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &settings);
  ::fcntl(STDIN_FILENO, F_SETFL, ::fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
}

}  // namespace

int main() {
  Channel channel(Channel::fd_from_environment());
  const auto raw = channel.receive();
  if (!raw) return 99;
  const auto run = std::get<RunMessage>(parse_message(*raw));
  if (run.command == "doctor") {
    channel.send(to_json(PhaseMessage{
        "doctor", {}, {}, {{"libtorch", "9.9.9"}, {"threads", 3}, {"loaded_files", {"/a.so"}}}}));
    return finish(channel, 0);
  }
  if (run.command == "why") {
    channel.send(to_json(PhaseMessage{"why",
                                      {},
                                      {},
                                      {{"answers",
                                        {{{"id", run.plugins.at(0).id},
                                          {"device", run.args.at("device")},
                                          {"path", "training"},
                                          {"support", "emulated"},
                                          {"compute", "bf16 product"},
                                          {"reason", "no FP4 unit"}}}}}}));
    return finish(channel, 0);
  }
  std::istringstream order(run.args.contains("prompt")
                               ? run.args["prompt"].get<std::string>()
                               : run.config.at("chat").at("prompt").get<std::string>());
  std::string word;
  long number = 0;
  order >> word >> number;

  if (word == "exit") return finish(channel, static_cast<int>(number), number == 0 ? "" : "as ordered");
  if (word == "silent") return static_cast<int>(number);
  if (word == "signal") {
    ::signal(static_cast<int>(number), SIG_DFL);  // a sanitizer has its own handlers
    ::raise(static_cast<int>(number));
    sleep_forever();
  }
  if (word == "echo") {
    channel.send(to_json(PhaseMessage{"model_loading", 1, 2, {}}));
    say(raw->dump());
    return finish(channel, 0);
  }
  if (word == "facts") {
    facts();
    return finish(channel, 0);
  }
  if (word == "loading") {
    channel.send(to_json(PhaseMessage{"model_loading", 1, 2, {}}));
    say("loading");
    sleep_forever();
  }
  if (word == "ignore-term") ::signal(SIGTERM, SIG_IGN);
  channel.send(to_json(PhaseMessage{"model_loading", 1, 2, {}}));
  channel.send(to_json(PhaseMessage{"ready", 1, {}, {}}));
  if (word == "hang" || word == "ignore-term") {
    say("ready");
    sleep_forever();
  }
  if (word == "hog") {
    hog(number);
    sleep_forever();
  }
  if (word == "soft") {
    hog(number);
    const auto message = channel.receive();
    if (!message) return 98;
    const Message parsed = parse_message(*message);
    const auto& asked = std::get<SoftMessage>(parsed);
    say("asked " + std::to_string(asked.epoch) + " limit " + std::to_string(asked.limit_bytes));
    channel.send(to_json(PhaseMessage{
        "soft_done",
        1,
        {},
        {{"epoch", asked.epoch}, {"freed_bytes", std::uint64_t{64} << 20}, {"done", {"nothing"}}}}));
    ::poll(nullptr, 0, 200);
    return finish(channel, 0);
  }
  if (word == "nested-hog") {
    if (::fork() == 0) {
      ::setsid();
      if (::fork() == 0) {
        hog(number);
        sleep_forever();
      }
      ::_exit(0);
    }
    ::wait(nullptr);
    sleep_forever();
  }
  if (word == "leave-child") {
    if (::fork() == 0) {
      ::setsid();
      sleep_forever();
    }
    return finish(channel, 0);
  }
  if (word == "stops") {
    say("generating");
    for (int turn = 1; turn <= number; ++turn) {
      const auto message = channel.receive();
      if (!message) return 98;
      channel.send(to_json(PhaseMessage{"turn", 1, {}, {}}));
      say("stopped turn " + std::to_string(turn) + ": " +
          std::get<StopMessage>(parse_message(*message)).reason);
    }
    return finish(channel, 0);
  }
  if (word == "garbage") {
    const char hostile[] = "\xff\xff\xff\xff{}";
    if (::send(channel.fd(), hostile, sizeof hostile, 0) < 0) return 97;
    say("garbage sent");
    ::poll(nullptr, 0, 100);
    return 0;
  }
  if (word == "terminal") {
    spoil_terminal();
    say("spoiled");
    if (number == 0) return finish(channel, 0);
    sleep_forever();
  }
  if (word == "read") {
    say("reading");
    for (std::string line; std::getline(std::cin, line);) say("got " + line);
    return finish(channel, 0);
  }
  return finish(channel, 96, "unknown order");
}
