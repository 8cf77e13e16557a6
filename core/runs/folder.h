// The folder of one run, `<run.dir>/<UTC time>-<config name>`.
//   config.yaml        the resolved config, which reads back as the same config      before the start
//   config.json        the same with hash, command line, overrides, plugins          before the start
//   record.json        figures of the run, from the engine                           while it runs
//   transcript.*       a conversation, from the engine                               while it runs
//   status.json        how it ended                                                  at its end
//   summary.md         all of it on one page, to paste into a log                    at its end
// Files appear whole (written beside and renamed). While the run lasts its launcher holds a lock on the
// folder, so that others can tell a run that goes on from one that was cut off.
#pragma once

#include "runs/words.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

namespace tetrad::runs {

struct FolderContents {
  std::string config_yaml;
  nlohmann::json description;  // becomes config.json
};

// How a run ended; to_json() is status.json.
struct Ending {
  std::string state = "ok";  // ok | failed | guard | interrupted | crashed
  int exit_code = 0;
  std::string reason;  // empty when ok
  double wall_seconds = 0;
  nlohmann::json guard = nullptr;  // {"peak_tree_bytes", "lowest_available_bytes"}; null without a guard
};
nlohmann::json to_json(const Ending& ending, std::int64_t unix_seconds);

// Name part of a config file: its stem, with everything but letters, digits, '.', '_' and '-' replaced by
// '-'; "run" without a file.
std::string run_name(const std::string& config_file);

// "20261123T092801Z"
std::string utc_stamp(std::int64_t unix_seconds);

class Folder {
 public:
  // Creates `parent` if need be, a new folder in it ("-2", "-3" ... when the name is taken) and its first
  // files. Throws Error naming the path and the system's reason (a full disk counts); nothing is left behind
  // then.
  static Folder create(const std::filesystem::path& parent, const std::string& name,
                       std::int64_t unix_seconds, const FolderContents& contents);
  ~Folder();
  Folder(Folder&& other) noexcept;
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  Folder& operator=(Folder&&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }  // absolute

  // Writes status.json and summary.md from what the engine left. Throws Error when they cannot be written.
  void finish(const Ending& ending, std::int64_t unix_seconds, Language language) const;

 private:
  Folder(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::filesystem::path path_;
  int lock_ = -1;  // descriptor that holds the lock; -1 where the file system has none
};

// Whether a launcher holds the lock of this folder now.
bool is_running(const std::filesystem::path& folder);

}  // namespace tetrad::runs
