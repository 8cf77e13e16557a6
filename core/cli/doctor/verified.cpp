#include "cli/doctor/verified.h"

#include "io/atomic_file.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace tetrad::cli {
namespace {

using nlohmann::json;

constexpr int format = 1;
constexpr std::uintmax_t most_bytes = 1 << 20;

json read_state(const std::filesystem::path& file) {
  std::error_code none;
  if (file.empty() || !std::filesystem::exists(file, none))
    return {{"format", format}, {"devices", json::object()}};
  const auto refuse = [&](const std::string& why) -> json {
    throw Error(
        fmt::format("[verify] {} says which kernels failed here, and {}; remove it and run 'host "
                    "doctor --verify' again",
                    file.string(), why));
  };
  if (std::filesystem::file_size(file, none) > most_bytes || none) return refuse("cannot be that large");
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) return refuse("cannot be read");
  json state = json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  if (!state.is_object() || state.value("format", json()) != format || !state.contains("devices") ||
      !state.at("devices").is_object())
    return refuse("is not what this version writes");
  return state;
}

std::string text_of(const json& entry, const char* key) {
  const auto found = entry.find(key);
  return found != entry.end() && found->is_string() ? found->get<std::string>() : std::string("?");
}

}  // namespace

std::filesystem::path verified_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return std::filesystem::path(state) / "tetrad/verified.json";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home != '/') return {};
  return std::filesystem::path(home) / ".local/state/tetrad/verified.json";
}

void record_verification(const std::filesystem::path& file, const std::string& device,
                         const std::string& time, const std::string& report,
                         const std::vector<FailedKernel>& failed) {
  json state = read_state(file);
  json& devices = state.at("devices");
  if (failed.empty() && !devices.contains(device)) return;
  devices.erase(device);
  if (!failed.empty()) {
    json list = json::array();
    for (const FailedKernel& each : failed) {
      list.push_back({{"owner", each.owner},
                      {"build_id", each.build_id},
                      {"kernel", each.kernel},
                      {"verdict", each.verdict},
                      {"detail", each.detail.substr(0, 2000)}});
    }
    devices[device] = {{"time", time}, {"report", report}, {"failed", list}};
  }
  std::error_code code;
  std::filesystem::create_directories(file.parent_path(), code);
  io::write_file(file, state.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

void require_not_failed(const std::filesystem::path& file, const std::string& device,
                        const std::string& owner, const std::string& build_id) {
  const json state = read_state(file);
  const auto entry = state.at("devices").find(device);
  if (entry == state.at("devices").end() || !entry->is_object()) return;
  const json failed = entry->value("failed", json::array());
  for (const json& each : failed) {
    if (!each.is_object() || text_of(each, "owner") != owner || text_of(each, "build_id") != build_id)
      continue;
    throw Error(
        ExitCode::plugin_refused,
        fmt::format("[verify] kernel {} of {} failed 'host doctor --verify' on {} at {} ({}: {}); report: "
                    "{}. It is refused until another build of it is installed or a verification "
                    "passes; results are kept in {}",
                    text_of(each, "kernel"), owner, device, text_of(*entry, "time"), text_of(each, "verdict"),
                    text_of(each, "detail"), text_of(*entry, "report"), file.string()));
  }
}

}  // namespace tetrad::cli
