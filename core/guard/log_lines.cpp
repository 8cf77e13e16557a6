#include "guard/log_lines.h"

#include "guard/sample_log.h"
#include "guard/tree.h"
#include "sdk/base/or_null.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <utility>

namespace tetrad::guard {

using nlohmann::json;

namespace {

constexpr std::size_t most_devices_named = 4;

// To the microsecond.
double milliseconds(std::int64_t ns) {
  return std::round(static_cast<double>(ns) * 1e-3) * 1e-3;
}

std::string dump(const json& line) {
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

json devices_of(const GuardSample& sample) {
  json devices = json::array();
  for (const GuardDevice& device : sample.devices) {
    if (devices.size() == most_devices_named) break;
    devices.push_back({{"uuid", device.uuid},
                       {"used_bytes", or_null(device.used_bytes)},
                       {"total_bytes", or_null(device.total_bytes)},
                       {"unified", device.unified},
                       {"rows", device.rows_known ? json(device.rows.size()) : json(nullptr)}});
  }
  return devices;
}

json sensors_of(const Guard& guard) {
  json sensors = json::array();
  const std::int64_t now = guard.sample().mono_ns;
  for (const auto& feed : guard.feeds()) {
    json one = {{"id", feed->id()}};
    if (const GuardSample* sample = feed->sample()) {
      one["age_ms"] = milliseconds(now - feed->sample_end_ns());
      one["reading_ms"] = std::round(feed->reading_secs() * 1e6) * 1e-3;
      if (!sample->devices.empty()) {
        one["devices"] = devices_of(*sample);
        if (sample->devices.size() > most_devices_named)
          one["more_devices"] = sample->devices.size() - most_devices_named;
      }
      if (!sample->shares.empty()) {
        std::uint64_t sum = 0;
        for (const GuardShare& share : sample->shares) sum += share.proportional_bytes;
        one["proportional_bytes"] = sum;
      }
      if (sample->pressure_full_avg10) one["pressure_full_avg10"] = *sample->pressure_full_avg10;
      if (sample->group_used_bytes) one["group_used_bytes"] = *sample->group_used_bytes;
      if (sample->device_lost) one["device_lost"] = true;
    } else {
      one["age_ms"] = nullptr;
    }
    if (!feed->problem().empty()) one["problem"] = feed->problem().substr(0, 200);
    sensors.push_back(std::move(one));
  }
  return sensors;
}

}  // namespace

std::string start_line(const Guard& guard, pid_t child, const std::string& command) {
  const Limits& limits = guard.limits();
  json sensors = {"guard-host"};
  for (const auto& feed : guard.feeds()) {
    if (feed->id() != "guard-host") sensors.push_back(feed->id());
  }
  const auto wall = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  return event_line("start", {{"wall_utc", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", wall)},
                              {"guard_pid", ::getpid()},
                              {"child_pid", child},
                              {"command", command},
                              {"limit_bytes", or_null(limits.limit_bytes)},
                              {"device_limit_bytes", or_null(limits.device_limit_bytes)},
                              {"soft_bytes", or_null(limits.soft_bytes)},
                              {"host_floor_bytes", limits.host_floor_bytes},
                              {"over_s", limits.over_secs},
                              {"poll_s", limits.poll_secs},
                              {"sensors", std::move(sensors)}});
}

std::string sample_line(const Guard& guard) {
  const Sample& sample = guard.sample();
  const Decision& decision = guard.decision();
  json line = {{"event", "sample"},
               {"mono_ms", milliseconds(sample.mono_ns)},
               {"tree_bytes", or_null(sample.tree_bytes)},
               {"device_bytes", or_null(sample.device_bytes)},
               {"unified", sample.unified},
               {"available_bytes", or_null(sample.available_bytes)},
               {"rate_bytes_per_s", std::round(guard.state().host.rate)},
               {"device_rate_bytes_per_s", std::round(guard.state().device.rate)},
               {"processes", guard.members().size()},
               {"verdict", verdict_name(decision.verdict)},
               {"rule", rule_name(decision.rule)},
               {"reaction_ms", std::round(sample.reaction_secs * 1e6) * 1e-3},
               {"next_ms", std::round(decision.next_secs * 1e6) * 1e-3},
               {"phase", guard.phase()},
               {"sensors", sensors_of(guard)}};
  std::string text = dump(line);
  if (text.size() < SampleLog::longest_line) return text;
  line["sensors"] = nullptr;
  return dump(line);
}

std::string event_line(const char* event, json more) {
  json line = {{"event", event}, {"mono_ms", milliseconds(monotonic_ns())}};
  line.update(more);
  return dump(line);
}

}  // namespace tetrad::guard
