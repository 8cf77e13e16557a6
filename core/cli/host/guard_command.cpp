#include "cli/host/commands.h"
#include "cli/supervise/supervisor.h"
#include "guard/settings.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <charconv>

namespace tetrad::cli {

namespace {

guard::Settings settings_of(const Arguments& arguments) {
  guard::Settings settings;
  const std::string& limit = arguments.limit_gb;
  double number = 0;
  const auto [stop, error] = std::from_chars(limit.data(), limit.data() + limit.size(), number);
  if (limit == "auto") {
    settings.limit_gb = guard::LimitWord::automatic;
  } else if (error == std::errc{} && stop == limit.data() + limit.size()) {
    settings.limit_gb = number;
  } else if (limit != "none") {
    throw Error(ExitCode::usage,
                fmt::format("[guard] --limit-gb: '{}' is neither a number of GiB nor auto nor none", limit));
  }
  settings.over_secs = arguments.over_secs;
  settings.poll_secs = arguments.poll_secs;
  settings.host_floor_gb = arguments.host_floor_gb;
  return settings;
}

}  // namespace

int run_guard_command(const Arguments& arguments) {
  const guard::Capacity capacity = guard::read_capacity();
  Supervision supervision;
  supervision.limits = guard::make_limits(settings_of(arguments), capacity);
  supervision.opening_lines = {guard::describe(*supervision.limits, capacity)};
  Program program;
  program.file = arguments.program.front();
  program.arguments.assign(arguments.program.begin() + 1, arguments.program.end());
  return supervise(std::move(program), std::nullopt, supervision).exit_code;
}

}  // namespace tetrad::cli
