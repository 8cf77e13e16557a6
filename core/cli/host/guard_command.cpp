#include "cli/host/commands.h"
#include "cli/launch/prepare.h"
#include "cli/supervise/supervisor.h"
#include "guard/settings.h"

#include <tetrad/base/error.h>

namespace tetrad::cli {

namespace {

guard::Settings settings_of(const Arguments& arguments) {
  guard::Settings settings;
  settings.limit_gb = guard::parse_limit(arguments.limit_gb, "--limit-gb");
  settings.soft_gb = guard::parse_limit(arguments.soft_gb, "--soft-gb");
  settings.over_secs = arguments.over_secs;
  settings.poll_secs = arguments.poll_secs;
  settings.host_floor_gb = arguments.host_floor_gb;
  settings.allow_blind = !arguments.refuse_blind;
  return settings;
}

}  // namespace

int run_guard_command(const Arguments& arguments) {
  const guard::Capacity capacity = guard::read_capacity();
  const guard::Settings settings = settings_of(arguments);
  Supervision supervision;
  supervision.limits = guard::make_limits(settings, capacity);
  supervision.allow_blind = settings.allow_blind;
  supervision.report_file = arguments.report;
  supervision.log_file = arguments.log;
  supervision.log_mb = arguments.log_mb;
  supervision.sensors = choose_sensors(open_registry(arguments.plugin_paths, {}, {}), arguments.sensors);
  supervision.opening_lines = {
      guard::describe(*supervision.limits, capacity, sensor_names(supervision.sensors))};
  Program program;
  program.file = arguments.program.front();
  program.arguments.assign(arguments.program.begin() + 1, arguments.program.end());
  return supervise(std::move(program), std::nullopt, supervision).exit_code;
}

}  // namespace tetrad::cli
