#include "cli/launch/run_folder.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <time.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace tetrad::cli {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void refuse(const fs::path& path, const std::string& reason) {
  throw Error(fmt::format(
      "[run] cannot store this run in '{}': {}; nothing was started; set run.dir to another folder, "
      "or to null to keep no record",
      path.string(), reason));
}

void write_whole(const fs::path& file, const std::string& text) {
  fs::path temporary = file;
  temporary += ".tmp";
  errno = 0;
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) refuse(file, errno != 0 ? std::strerror(errno) : "writing failed");
  std::error_code failed;
  fs::rename(temporary, file, failed);
  if (failed) refuse(file, failed.message());
}

fs::path make_folder(const fs::path& parent, const std::string& name) {
  std::error_code failed;
  fs::create_directories(parent, failed);
  if (failed) refuse(parent, failed.message());
  constexpr int most = 10000;
  for (int number = 1; number < most; ++number) {
    fs::path folder = parent / (number == 1 ? name : fmt::format("{}-{}", name, number));
    if (fs::create_directory(folder, failed)) return folder;
    if (failed) refuse(folder, failed.message());
  }
  refuse(parent / name, "the name and its numbered forms are taken");
}

}  // namespace

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

fs::path create_run_folder(const fs::path& parent, const std::string& name, std::int64_t unix_seconds,
                           const RunFolderContents& contents) {
  std::error_code failed;
  const fs::path place = fs::absolute(parent, failed);
  if (failed) refuse(parent, failed.message());
  fs::path folder = make_folder(place, utc_stamp(unix_seconds) + "-" + name);
  try {
    write_whole(folder / "config.yaml", contents.config_yaml);
    write_whole(folder / "config.json", contents.description.dump(2) + "\n");
  } catch (...) {
    fs::remove_all(folder, failed);
    throw;
  }
  return folder;
}

}  // namespace tetrad::cli
