// The log's file as it is after the fact: whole lines in order, within its bound, whatever happened to whom.
#include "guard/sample_log.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/temp_dir.h"

namespace tetrad::guard {
namespace {

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string numbered(int number, std::size_t length) {
  std::string line = std::to_string(number) + " ";
  line.resize(length, 'x');
  return line;
}

int number_of(const std::string& line) {
  return std::stoi(line.substr(0, line.find(' ')));
}

class SampleLogs : public testing::Test {
 protected:
  test::TempDir folder_;
  std::string file_ = (folder_ / "guard.jsonl").string();
};

TEST_F(SampleLogs, LinesComeWholeAndInOrder) {
  {
    SampleLog log(file_, 1 << 20);
    for (int i = 0; i < 500; ++i) log.add(numbered(i, static_cast<std::size_t>(5 + i)));
    EXPECT_EQ(log.dropped(), 0U);
  }
  const auto lines = lines_of(file_);
  ASSERT_EQ(lines.size(), 500U);
  for (int i = 0; i < 500; ++i)
    EXPECT_EQ(lines[static_cast<std::size_t>(i)], numbered(i, static_cast<std::size_t>(5 + i)));
  EXPECT_FALSE(std::filesystem::exists(file_ + ".1"));
}

TEST_F(SampleLogs, TheNewestLinesStayWithinTheBound) {
  constexpr std::uint64_t most = 200'000;
  constexpr int count = 10'000;
  {
    SampleLog log(file_, most);
    for (int i = 0; i < count; ++i) {
      log.add(numbered(i, 100));
      if (i % 100 == 0) ::poll(nullptr, 0, 1);
    }
    EXPECT_EQ(log.dropped(), 0U);
  }
  EXPECT_LE(std::filesystem::file_size(file_) + std::filesystem::file_size(file_ + ".1"),
            most + SampleLog::longest_line);
  std::vector<std::string> lines = lines_of(file_ + ".1");
  for (const std::string& line : lines_of(file_)) lines.push_back(line);
  ASSERT_GT(lines.size(), 500U);
  EXPECT_EQ(number_of(lines.back()), count - 1);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    ASSERT_EQ(lines[i].size(), 100U);
    ASSERT_EQ(number_of(lines[i]), number_of(lines[i - 1]) + 1);
  }
}

TEST_F(SampleLogs, AFileThatCannotBeMadeIsAnErrorAndALineTooLongIsDropped) {
  EXPECT_THROW(SampleLog((folder_ / "none" / "log").string(), 1 << 20), Error);
  {
    SampleLog log(file_, 1 << 20);
    log.add(std::string(SampleLog::longest_line, 'y'));
    log.add("short");
    EXPECT_EQ(log.dropped(), 1U);
  }
  EXPECT_EQ(lines_of(file_), std::vector<std::string>{"short"});
}

// A stopped writer stands for a disk that does not answer.
TEST_F(SampleLogs, AWriterThatHangsHoldsNobodyUp) {
  SampleLog log(file_, 1 << 24);
  ASSERT_EQ(::kill(log.pid(), SIGSTOP), 0);
  for (int i = 0; i < 2000; ++i) log.add(numbered(i, 4000));  // 8 MB: more than any pipe takes
  EXPECT_GT(log.dropped(), 500U);
  const std::uint64_t dropped = log.dropped();
  ASSERT_EQ(::kill(log.pid(), SIGCONT), 0);
  ::poll(nullptr, 0, 200);
  log.add("after");
  EXPECT_EQ(log.dropped(), dropped);
}

TEST_F(SampleLogs, LinesOfAGuardThatWasKilledAreKept) {
  const pid_t guard = ::fork();
  if (guard == 0) {
    SampleLog log(file_, 1 << 20);
    ::kill(log.pid(), SIGSTOP);  // nothing is in the file yet when the guard ends
    for (int i = 0; i < 20; ++i) log.add(numbered(i, 50));
    ::kill(log.pid(), SIGCONT);
    ::raise(SIGKILL);
  }
  ::waitpid(guard, nullptr, 0);
  for (int i = 0; i < 400 && lines_of(file_).size() < 20; ++i) ::poll(nullptr, 0, 5);
  EXPECT_EQ(lines_of(file_).size(), 20U);
}

}  // namespace
}  // namespace tetrad::guard
