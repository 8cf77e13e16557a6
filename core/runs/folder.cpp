#include "runs/folder.h"

#include "io/atomic_file.h"
#include "runs/store.h"
#include "runs/summary.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <tetrad/base/error.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace tetrad::runs {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// What a short conversation needs; a disk with less is full for our purposes, and better said before the
// model is loaded than after its answer.
constexpr std::uint64_t least_free_bytes = std::uint64_t{1} << 20;

[[noreturn]] void refuse(const fs::path& path, const std::string& reason) {
  throw Error(fmt::format(
      "[run] cannot store this run in '{}': {}; nothing was started; set run.dir to another folder, "
      "or to null to keep no record",
      path.string(), reason));
}

void require_space(const fs::path& folder) {
  struct statvfs disk {};
  if (::statvfs(folder.c_str(), &disk) != 0 || disk.f_blocks == 0) return;  // not told; writing will tell
  const std::uint64_t free_bytes = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (free_bytes < least_free_bytes) {
    refuse(folder, fmt::format("the disk is full ({} KiB are free, a run needs {})", free_bytes >> 10,
                               least_free_bytes >> 10));
  }
}

// The first folder on the way to `path` that does not exist yet; empty when all of it does.
fs::path first_missing(const fs::path& path) {
  std::error_code failed;
  fs::path missing;
  for (fs::path at = path; !at.empty() && !fs::exists(at, failed); at = at.parent_path()) {
    missing = at;
    if (at == at.parent_path()) break;
  }
  return missing;
}

fs::path make_folder(const fs::path& parent, const std::string& name) {
  std::error_code failed;
  fs::create_directories(parent, failed);
  if (failed) refuse(parent, failed.message());
  require_space(parent);
  constexpr int most = 10000;
  for (int number = 1; number < most; ++number) {
    fs::path folder = parent / (number == 1 ? name : fmt::format("{}-{}", name, number));
    if (fs::create_directory(folder, failed)) return folder;
    if (failed) refuse(folder, failed.message());
  }
  refuse(parent / name, "the name and its numbered forms are taken");
}

int lock_folder(const fs::path& folder, int how) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && ::flock(fd, how | LOCK_NB) == 0) return fd;
  if (fd >= 0) ::close(fd);
  return -1;
}

}  // namespace

json to_json(const Ending& ending, std::int64_t unix_seconds) {
  return {{"state", ending.state},   {"exit_code", ending.exit_code},
          {"reason", ending.reason}, {"wall_s", ending.wall_seconds},
          {"guard", ending.guard},   {"ended_utc", utc_stamp(unix_seconds)}};
}

std::string run_name(const std::string& config_file) {
  std::string name = fs::path(config_file).stem().string();
  for (char& c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
    if (!plain) c = '-';
  }
  constexpr std::size_t longest = 100;
  return name.empty() ? "run" : name.substr(0, longest);
}

std::string utc_stamp(std::int64_t unix_seconds) {
  const auto seconds = static_cast<time_t>(unix_seconds);
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

Folder Folder::create(const fs::path& parent, const std::string& name, std::int64_t unix_seconds,
                      const FolderContents& contents) {
  std::error_code failed;
  const fs::path place = fs::absolute(parent, failed).lexically_normal();
  if (failed) refuse(parent, failed.message());
  const fs::path ours = first_missing(place);
  fs::path folder;
  try {
    folder = make_folder(place, utc_stamp(unix_seconds) + "-" + name);
    Folder result(folder, lock_folder(folder, LOCK_EX));
    try {
      io::write_file(folder / "config.yaml", contents.config_yaml);
      io::write_file(folder / "config.json",
                     contents.description.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
    } catch (const Error& error) {
      refuse(folder, error.what());
    }
    return result;
  } catch (...) {
    // Only what this call made: the run's folder, and parents that were not there before.
    if (!folder.empty()) fs::remove_all(folder, failed);
    if (!ours.empty()) {
      for (fs::path at = place; fs::remove(at, failed) && at != ours; at = at.parent_path()) {
      }
    }
    throw;
  }
}

Folder::~Folder() {
  if (lock_ >= 0) ::close(lock_);
}

Folder::Folder(Folder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

void Folder::finish(const Ending& ending, std::int64_t unix_seconds, Language language) const {
  json status = to_json(ending, unix_seconds);
  json run = read_run(path_);
  status["tok_s"] = tokens_per_second(run);
  run["status"] = status;
  io::write_file(path_ / "summary.md", summary(run, language));
  io::write_file(path_ / "status.json", status.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

bool is_running(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool held = ::flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return held;
}

}  // namespace tetrad::runs
