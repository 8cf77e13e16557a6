#include "cli/parity/result_folder.h"

#include "io/atomic_file.h"
#include "parity/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <ctime>
#include <utility>

namespace tetrad::cli {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// -1 where the file system has no locks.
int lock_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw Error(fmt::format("[parity] the folder '{}' cannot be opened", folder.string()));
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  const bool taken = errno == EWOULDBLOCK;
  ::close(fd);
  if (!taken) return -1;
  throw Error(ExitCode::usage,
              fmt::format("[parity] another command works in '{}'; wait for its end", folder.string()));
}

fs::path make_named(const fs::path& out) {
  std::error_code failed;
  if (fs::exists(out, failed) && (!fs::is_directory(out, failed) || !fs::is_empty(out, failed))) {
    throw Error(
        ExitCode::usage,
        fmt::format("[parity] --out: '{}' is there already; name a new folder, or go on with what is in "
                    "it: host parity --resume {}",
                    out.string(), out.string()));
  }
  fs::create_directories(out, failed);
  if (failed)
    throw Error(fmt::format("[parity] the folder '{}' cannot be made: {}", out.string(), failed.message()));
  return fs::canonical(out);
}

fs::path make_dated(const fs::path& parent, const parity::Plan& plan) {
  std::error_code failed;
  fs::create_directories(parent, failed);
  const std::string name = fmt::format("{}-{}-parity", plan.created_utc, plan.name);
  constexpr int most = 10000;
  for (int number = 1; !failed && number < most; ++number) {
    const fs::path folder = parent / (number == 1 ? name : fmt::format("{}-{}", name, number));
    if (fs::create_directory(folder, failed)) return fs::canonical(folder);
  }
  throw Error(fmt::format("[parity] no folder can be made in '{}': {}; give --out DIR", parent.string(),
                          failed.message()));
}

}  // namespace

void write_json_file(const fs::path& file, const json& record) {
  io::write_file(file, record.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

ResultFolder ResultFolder::create(const fs::path& parent, const fs::path& out, const parity::Plan& plan,
                                  const std::vector<std::string>& command_line) {
  if (parent.empty() && out.empty())
    throw Error(ExitCode::usage, "[parity] run.dir is null: give --out DIR for the result");
  const fs::path folder = out.empty() ? make_dated(parent, plan) : make_named(out);
  ResultFolder result(folder, lock_folder(folder));
  const parity::Arm& reference = plan.arms.at(plan.reference);
  const json description = {{"config", reference.config},
                            {"config_file", reference.config_files.back()},
                            {"config_hash", reference.config_hash},
                            {"config_files", reference.config_files},
                            {"overrides", plan.sets},
                            {"command", "parity"},
                            {"command_line", command_line},
                            {"working_directory", plan.working_directory},
                            {"started_utc", plan.created_utc},
                            {"versions", {{"tetrad", TETRAD_VERSION}}},
                            {"plugins", json::array()}};
  write_json_file(folder / "config.json", description);
  write_json_file(folder / parity::plan_file, to_json(plan));
  return result;
}

ResultFolder ResultFolder::open(const fs::path& folder) {
  std::error_code failed;
  if (!fs::is_directory(folder, failed))
    throw Error(ExitCode::usage, fmt::format("[parity] there is no folder '{}'", folder.string()));
  return {fs::canonical(folder), lock_folder(folder)};
}

ResultFolder::~ResultFolder() {
  if (lock_ >= 0) ::close(lock_);
}

ResultFolder::ResultFolder(ResultFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

void ResultFolder::finish(const runs::Ending& ending) const {
  json status = runs::to_json(ending, std::time(nullptr));
  status["tok_s"] = nullptr;
  write_json_file(path_ / "status.json", status);
}

}  // namespace tetrad::cli
