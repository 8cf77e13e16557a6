// `host guard status`: the guards that run on this machine and answer us, newest facts first hand.
#include "cli/host/commands.h"
#include "guard/post.h"
#include "guard/settings.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace tetrad::cli {

using nlohmann::json;

namespace {

std::string size(const json& bytes) {
  return bytes.is_number_unsigned() ? guard::format_mib(bytes.get<std::uint64_t>()) : "unknown";
}

std::string limit(const json& bytes) {
  return bytes.is_number_unsigned() ? guard::format_mib(bytes.get<std::uint64_t>()) : "none";
}

void print(const json& one) {
  const json& limits = one.at("limits");
  fmt::print("guard_pid={} child_pid={} running {:.0f} s at {}: {}\n", one.at("guard_pid").dump(),
             one.at("child_pid").dump(), one.at("uptime_s").get<double>(), one.at("phase").get<std::string>(),
             one.at("command").get<std::string>());
  fmt::print("  limit={} soft={} device_limit={} floor={} over={} s poll={} s\n",
             limit(limits.at("limit_bytes")), limit(limits.at("soft_bytes")),
             limit(limits.at("device_limit_bytes")), size(limits.at("host_floor_bytes")),
             limits.at("over_secs").dump(), limits.at("poll_secs").dump());
  fmt::print(
      "  tree={} (peak {}) device={}{} available={} (lowest {}) processes={} next reading in {:.3f} s\n",
      size(one.at("tree_bytes")), size(one.at("peak_tree_bytes")), size(one.at("device_bytes")),
      one.at("unified").get<bool>() ? " (unified)" : "", size(one.at("available_bytes")),
      size(one.at("lowest_available_bytes")), one.at("processes").dump(),
      one.at("next_reading_s").get<double>());
  for (const json& sensor : one.at("sensors")) {
    fmt::print("  sensor {}: {}\n", sensor.at("id").get<std::string>(),
               sensor.at("problem").is_string() ? sensor.at("problem").get<std::string>()
                                                : sensor.at("evidence").get<std::string>());
  }
  fmt::print("  locked in memory: {}; raised priority: {}; control group: {}; keeper: {}\n",
             one.at("locked").get<bool>() ? "yes" : "no", one.at("prioritised").get<bool>() ? "yes" : "no",
             one.at("control_group").is_string() ? one.at("control_group").get<std::string>() : "no",
             one.at("keeper_pid").dump());
}

}  // namespace

int run_guard_status_command(const Arguments& arguments) {
  json all = json::array();
  for (const pid_t pid : guard::find_guards()) {
    const auto answer = guard::ask_status(pid);
    json one = answer ? json::parse(*answer, nullptr, false) : json(json::value_t::discarded);
    if (!one.is_discarded()) all.push_back(std::move(one));
  }
  if (arguments.json) {
    fmt::print("{}\n", all.dump(2, ' ', false, json::error_handler_t::replace));
    return 0;
  }
  if (all.empty()) fmt::print("no guard is running that answers this user\n");
  for (const json& one : all) print(one);
  return 0;
}

}  // namespace tetrad::cli
