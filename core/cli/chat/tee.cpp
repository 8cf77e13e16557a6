#include "cli/chat/tee.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <time.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

namespace tetrad::cli {

namespace {

std::string local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

int open_for_append(const std::string& file) {
  return ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

void check_place(const std::optional<std::string>& file) {
  if (!file) return;
  const std::filesystem::path folder = std::filesystem::path(*file).parent_path();
  std::error_code failed;
  if (!folder.empty()) std::filesystem::create_directories(folder, failed);
  const int fd = open_for_append(*file);
  if (fd < 0) {
    throw Error(ExitCode::usage,
                fmt::format("[chat] turns cannot be appended to '{}': {}", *file, std::strerror(errno)));
  }
  ::close(fd);
}

void append_to(const std::string& file, const std::string& text) {
  const int fd = open_for_append(file);
  const ssize_t written = fd < 0 ? -1 : ::write(fd, text.data(), text.size());
  const int reason = written < 0 ? errno : ENOSPC;
  if (fd >= 0) ::close(fd);
  if (written != static_cast<ssize_t>(text.size()))
    throw Error(
        fmt::format("[chat] the turn could not be appended to '{}': {}", file, std::strerror(reason)));
}

}  // namespace

Tee::Tee(std::optional<std::string> text_file, std::optional<std::string> jsonl_file)
    : text_file_(std::move(text_file)), jsonl_file_(std::move(jsonl_file)) {
  check_place(text_file_);
  check_place(jsonl_file_);
}

void Tee::append(const std::string& user, const std::string& output) const {
  const std::string now = local_time();
  if (text_file_)
    append_to(*text_file_, fmt::format("==== {} ====\n[user] {}\n[assistant] {}\n\n", now, user, output));
  if (jsonl_file_) {
    nlohmann::ordered_json entry;
    entry["ts"] = now;
    entry["messages"] = nlohmann::ordered_json::array({{{"role", "user"}, {"text", user}}});
    entry["output"] = output;
    append_to(*jsonl_file_, entry.dump() + "\n");
  }
}

}  // namespace tetrad::cli
