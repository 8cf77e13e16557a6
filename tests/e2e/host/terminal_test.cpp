// On a pseudo-terminal: Ctrl-C, Ctrl-Z, reading, and the terminal's settings afterwards.
#include "launcher.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>

namespace tetrad::e2e {
namespace {

constexpr const char* ctrl_c = "\x03";
constexpr const char* ctrl_d = "\x04";
constexpr const char* ctrl_z = "\x1a";
constexpr const char* ctrl_backslash = "\x1c";

// Line settings as the master side sees them: the settings of the terminal itself.
termios settings_of(int terminal) {
  termios settings{};
  EXPECT_EQ(::tcgetattr(terminal, &settings), 0);
  return settings;
}

bool sane(const termios& settings) {
  return (settings.c_lflag & ECHO) != 0 && (settings.c_lflag & ICANON) != 0;
}

// Presses Ctrl-C again and again: two that come faster than they are taken count as one.
void interrupt_until_it_ends(const Started& host) {
  for (int i = 0; i < 50; ++i) {
    host.type(ctrl_c);
    ::poll(nullptr, 0, 100);
    siginfo_t info{};
    if (::waitid(P_PID, static_cast<id_t>(host.pid()), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid != 0)
      return;
  }
}

TEST(Terminal, CtrlCEndsAGenerationAndASecondOneTheProgram) {
  const Workplace place;
  Started host(place.generate("stops 5"), true);
  ASSERT_TRUE(host.wait_for("generating"));
  host.type(ctrl_c);
  ASSERT_TRUE(host.wait_for("stopped turn 1: interrupt")) << host.seen();
  host.type(ctrl_c);
  ASSERT_TRUE(host.wait_for("stopped turn 2: interrupt")) << host.seen();

  Started stubborn(place.generate("hang"), true);
  ASSERT_TRUE(stubborn.wait_for("ready"));
  interrupt_until_it_ends(stubborn);
  EXPECT_EQ(stubborn.finish(), 128 + SIGINT) << stubborn.seen();
}

TEST(Terminal, AThirdCtrlCDoesNotWaitForTheGrace) {
  const Workplace place;
  Started host(place.generate("ignore-term"), true);
  ASSERT_TRUE(host.wait_for("ready"));
  interrupt_until_it_ends(host);
  EXPECT_EQ(host.finish(), 128 + SIGINT);
  EXPECT_THAT(host.seen(), testing::HasSubstr("[host] killed: Ctrl-C came again"));
}

TEST(Terminal, TheEngineReadsFromIt) {
  const Workplace place;
  Started host(place.generate("read"), true);
  ASSERT_TRUE(host.wait_for("reading"));
  host.type("hello\r");
  ASSERT_TRUE(host.wait_for("got hello")) << host.seen();
  host.type(ctrl_d);
  EXPECT_EQ(host.finish(), 0);
}

TEST(Terminal, SettingsAreRestoredHoweverTheEngineEnds) {
  const Workplace place;
  {
    Started host(place.generate("terminal 0"), true);
    ASSERT_TRUE(host.wait_for("spoiled"));
    EXPECT_EQ(host.finish(), 0);
    EXPECT_TRUE(sane(settings_of(host.terminal())));
  }
  {
    Started host(place.generate("terminal 1"), true);
    ASSERT_TRUE(host.wait_for("spoiled"));
    EXPECT_FALSE(sane(settings_of(host.terminal())));
    interrupt_until_it_ends(host);
    EXPECT_EQ(host.finish(), 128 + SIGINT);
    EXPECT_TRUE(sane(settings_of(host.terminal())));
  }
  Started host(place.generate("terminal 1"), true);
  ASSERT_TRUE(host.wait_for("spoiled"));
  ::kill(host.pid(), SIGTERM);
  EXPECT_EQ(host.finish(), 128 + SIGTERM);
  EXPECT_TRUE(sane(settings_of(host.terminal())));
}

TEST(Terminal, CtrlBackslashEndsTheEngineAndHostReportsIt) {
  const Workplace place;
  Started host(place.generate("hang"), true);
  ASSERT_TRUE(host.wait_for("ready"));
  host.type(ctrl_backslash);
  EXPECT_EQ(host.finish(), 128 + SIGQUIT);
}

// A shell with job control in a few lines: runs host as the foreground job of a terminal, notices that it
// stopped, takes the terminal, says so, and puts the job back. Ends with the job's exit code.
[[noreturn]] void small_shell(std::vector<std::string> words) {
  ::signal(SIGTTOU, SIG_IGN);
  ::signal(SIGTSTP, SIG_IGN);
  ::signal(SIGINT, SIG_IGN);
  const pid_t job = ::fork();
  if (job == 0) {
    ::setpgid(0, 0);
    ::tcsetpgrp(0, ::getpgrp());
    for (const int signal : {SIGTTOU, SIGTSTP, SIGINT}) ::signal(signal, SIG_DFL);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(255);
  }
  ::setpgid(job, job);
  for (;;) {
    int status = 0;
    ::waitpid(job, &status, WUNTRACED);
    ::tcsetpgrp(0, ::getpgrp());
    if (!WIFSTOPPED(status)) ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    if (::write(1, "[stopped]\n", 10) != 10) ::_exit(254);
    char key = 0;
    if (::read(0, &key, 1) != 1) ::_exit(253);
    ::tcsetpgrp(0, job);
    ::kill(-job, SIGCONT);
  }
}

TEST(Terminal, CtrlZStopsBothAndTheShellContinuesBoth) {
  const Workplace place;
  std::vector<std::string> words = place.generate("read");
  words.insert(words.begin(), host_file());
  Started shell([words] { small_shell(words); });
  ASSERT_TRUE(shell.wait_for("reading"));
  shell.type("one\r");
  ASSERT_TRUE(shell.wait_for("got one"));
  for (int round = 0; round < 2; ++round) {
    shell.type(ctrl_z);
    ASSERT_TRUE(shell.wait_for("[stopped]")) << shell.seen();
    shell.type("\r");
    shell.type("two\r");
    ASSERT_TRUE(shell.wait_for("got two")) << shell.seen();
  }
  shell.type(ctrl_d);
  EXPECT_EQ(shell.finish(), 0) << shell.seen();
}

}  // namespace
}  // namespace tetrad::e2e
