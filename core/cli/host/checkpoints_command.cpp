// `host checkpoints list|verify DIR`: what a training run has saved, and whether every byte of it is as it
// was written. Reads only; no libtorch, no model.
#include "cli/host/commands.h"
#include "sdk/base/printable.h"
#include "train/checkpoint/store.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tetrad::cli {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

json describe(const fs::path& folder, bool latest, bool verify) {
  json entry = {{"folder", fs::canonical(folder).string()}, {"latest", latest}};
  try {
    const auto checkpoint = train::Checkpoint::open(folder);
    if (verify) checkpoint.verify();
    entry["state"] = verify ? "verified" : "complete";
    entry["step"] = checkpoint.step();
    entry["bytes"] = checkpoint.bytes();
    entry["tensors"] = checkpoint.tensors().size();
    entry["identity"] = checkpoint.identity();
  } catch (const Error& error) {
    entry["state"] = "damaged";
    entry["reason"] = error.what();
  }
  return entry;
}

std::string line(const json& entry) {
  const std::string name = printable(fs::path(entry.at("folder").get<std::string>()).filename().string());
  std::string text = fmt::format("{:<9} {}", entry.at("state").get<std::string>(), name);
  if (entry.contains("reason")) return text + ": " + entry.at("reason").get<std::string>() + "\n";
  text += fmt::format("  {:.1f} MB, {} tensors",
                      static_cast<double>(entry.at("bytes").get<std::uint64_t>()) / 1e6,
                      entry.at("tensors").get<std::size_t>());
  return text + (entry.at("latest").get<bool>() ? ", latest\n" : "\n");
}

}  // namespace

int run_checkpoints_command(const Arguments& arguments) {
  const bool verify = arguments.command == "checkpoints verify";
  const fs::path given = arguments.checkpoint_dir;
  const fs::path found = train::CheckpointStore::find(given);  // refuses what is neither kind of folder
  std::vector<fs::path> folders = {found};
  std::string latest;
  if (!fs::equivalent(found, given)) {
    latest = found.filename().string();
    folders = train::CheckpointStore::checkpoints(given);
  }
  json all = json::array();
  bool damaged = false;
  for (const fs::path& folder : folders) {
    all.push_back(describe(folder, folder.filename() == latest, verify));
    damaged = damaged || all.back().at("state") == "damaged";
    if (!arguments.json) std::fputs(line(all.back()).c_str(), stdout);
  }
  if (arguments.json) std::fputs((json{{"checkpoints", all}}.dump(2) + "\n").c_str(), stdout);
  return static_cast<int>(damaged ? ExitCode::runtime : ExitCode::ok);
}

}  // namespace tetrad::cli
