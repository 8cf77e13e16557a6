#include "cli/supervise/guard_status.h"

#include <unistd.h>

namespace tetrad::cli {

using nlohmann::json;

namespace {

json number(const std::optional<std::uint64_t>& value) {
  return value ? json(*value) : json(nullptr);
}

json sensors_of(const guard::Guard& guard) {
  json sensors = {{{"id", "guard-host"}, {"evidence", "built in"}, {"problem", nullptr}}};
  for (const auto& feed : guard.feeds()) {
    json pressure = nullptr;
    json group = nullptr;
    if (const GuardSample* sample = feed->sample()) {
      if (sample->pressure_full_avg10) pressure = *sample->pressure_full_avg10;
      if (sample->group_used_bytes) {
        group = {{"used_bytes", number(sample->group_used_bytes)},
                 {"limit_bytes", number(sample->group_limit_bytes)},
                 {"oom_kills", number(sample->group_oom_kills)}};
      }
    }
    sensors.push_back({{"id", feed->id()},
                       {"helper_pid", feed->pid()},
                       {"evidence", feed->evidence()},
                       {"reading_s", feed->reading_secs()},
                       {"restarts", feed->restarts()},
                       {"pressure_full_avg10", pressure},
                       {"memory_group", group},
                       {"problem", feed->problem().empty() ? json(nullptr) : json(feed->problem())}});
  }
  return sensors;
}

}  // namespace

json guard_status(const guard::Guard& guard, const GuardedRun& run) {
  const guard::Limits& limits = guard.limits();
  const guard::Sample& sample = guard.sample();
  const guard::State& state = guard.state();
  return {{"guard_pid", ::getpid()},
          {"child_pid", run.child},
          {"command", run.command},
          {"uptime_s", static_cast<double>(guard::monotonic_ns() - run.started_ns) * 1e-9},
          {"phase", guard.phase()},
          {"limits",
           {{"limit_bytes", number(limits.limit_bytes)},
            {"device_limit_bytes", number(limits.device_limit_bytes)},
            {"soft_bytes", number(limits.soft_bytes)},
            {"host_floor_bytes", limits.host_floor_bytes},
            {"over_secs", limits.over_secs},
            {"poll_secs", limits.poll_secs}}},
          {"tree_bytes", number(sample.tree_bytes)},
          {"device_bytes", number(sample.device_bytes)},
          {"unified", sample.unified},
          {"available_bytes", number(sample.available_bytes)},
          {"peak_tree_bytes", number(state.peak_tree_bytes)},
          {"peak_device_bytes", number(state.peak_device_bytes)},
          {"lowest_available_bytes", number(state.lowest_available_bytes)},
          {"processes", run.processes},
          {"next_reading_s", guard.decision().next_secs},
          {"sensors", sensors_of(guard)},
          {"locked", run.standing.locked},
          {"prioritised", run.standing.prioritised},
          {"spared_by_oom", run.standing.spared},
          {"control_group", run.group.exists() ? json(run.group.path().string()) : json(nullptr)},
          {"keeper_pid", run.keeper.pid()}};
}

}  // namespace tetrad::cli
