// The folder of one comparison while it is made: `<run.dir>/<UTC time>-<name>-parity`, or the one that the
// user names. Contract: it is locked as long as the object lives, so that two commands never work in one
// folder; `host runs list` shows it beside the other runs.
#pragma once

#include "parity/plan/plan.h"
#include "runs/folder.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace tetrad::cli {

// Texts that are not UTF-8 are made so; the file appears whole or not at all.
void write_json_file(const std::filesystem::path& file, const nlohmann::json& record);

class ResultFolder {
 public:
  // Makes a new folder and writes the plan. `out`: the folder itself, new or empty; "": one below `parent`.
  // Throws Error(usage) for an `out` with something in it, Error where it cannot be written.
  static ResultFolder create(const std::filesystem::path& parent, const std::filesystem::path& out,
                             const parity::Plan& plan, const std::vector<std::string>& command_line);
  // An existing one, to go on. Throws Error(usage) when another command works in it.
  static ResultFolder open(const std::filesystem::path& folder);
  ~ResultFolder();
  ResultFolder(ResultFolder&& other) noexcept;
  ResultFolder(const ResultFolder&) = delete;
  ResultFolder& operator=(const ResultFolder&) = delete;
  ResultFolder& operator=(ResultFolder&&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }  // absolute

  // status.json: how the command ended.
  void finish(const runs::Ending& ending) const;

 private:
  ResultFolder(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace tetrad::cli
