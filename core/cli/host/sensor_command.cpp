// `host guard-sensor FILE`, started by the supervisor alone: loads one sensor plugin and publishes what it
// reads in the shared page until the supervisor ends it.
#include "cli/host/commands.h"
#include "guard/sensor_feed.h"
#include "guard/sensor_loop.h"
#include "plugin/loader.h"

#include <tetrad/base/error.h>
#include <tetrad/base/guard_sensor.h>

#include <string>
#include <utility>
#include <vector>

namespace tetrad::cli {

namespace {

// Sensors take no options from the config: every option has its default.
Options default_options(const plugin::Plugin& plugin) {
  std::vector<std::pair<std::string, OptionValue>> values;
  for (const nlohmann::json& option : plugin.metadata().options_for("guard")) {
    const auto key = option.at("key").get<std::string>();
    const nlohmann::json value = option.value("default", nlohmann::json());
    if (value.is_boolean()) {
      values.emplace_back(key, value.get<bool>());
    } else if (value.is_number_integer()) {
      values.emplace_back(key, value.get<std::int64_t>());
    } else if (value.is_number()) {
      values.emplace_back(key, value.get<double>());
    } else if (value.is_string()) {
      values.emplace_back(key, value.get<std::string>());
    }
  }
  return Options(std::move(values));
}

}  // namespace

int run_sensor_command(const std::string& file) {
  guard::Page& page = guard::map_page(guard::helper_page_fd);
  try {
    plugin::Plugin& plugin = plugin::load(file);
    const auto sensor = plugin::create<GuardSensor>(plugin, "guard", default_options(plugin));
    return guard::run_sensor(*sensor, page, guard::helper_wake_fd);
  } catch (const Error& e) {
    guard::put_text(page.evidence, e.what());
    page.probed.store(2, std::memory_order_release);
    return static_cast<int>(e.code());
  }
}

}  // namespace tetrad::cli
