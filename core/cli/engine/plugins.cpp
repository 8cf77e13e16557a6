#include "cli/engine/plugins.h"

#include <tetrad/base/error.h>

#include <vector>

namespace tetrad::cli {
namespace {

[[noreturn]] void refuse(const plugin::Plugin& plugin, const std::string& key, const std::string& why) {
  throw Error(ExitCode::usage, "[" + plugin.id() + "] option '" + key + "' " + why);
}

OptionValue convert(const plugin::Plugin& plugin, const std::string& key, const std::string& type,
                    const nlohmann::json& value) {
  if (type == "bool" && value.is_boolean()) return value.get<bool>();
  if (type == "int" && value.is_number_integer()) return value.get<std::int64_t>();
  if (type == "number" && value.is_number()) return value.get<double>();
  if ((type == "string" || type == "enum") && value.is_string()) return value.get<std::string>();
  refuse(plugin, key, "is " + value.dump() + ", which is not of type " + type);
}

template <class ValueOf>
Options collect(const plugin::Plugin& plugin, ValueOf&& value_of) {
  std::vector<std::pair<std::string, OptionValue>> values;
  for (const nlohmann::json& option : plugin.metadata().options) {
    const auto key = option.at("key").get<std::string>();
    values.emplace_back(key,
                        convert(plugin, key, option.at("type").get<std::string>(), value_of(key, option)));
  }
  return Options(std::move(values));
}

}  // namespace

const PluginRef& plugin_ref(const RunMessage& run, const std::string& kind) {
  for (const PluginRef& ref : run.plugins) {
    if (ref.kind == kind) return ref;
  }
  throw Error(ExitCode::plugin_refused, "[engine] host chose no plugin of kind '" + kind + "' for this run");
}

Options plugin_options(const plugin::Plugin& plugin, const nlohmann::json& values) {
  return collect(plugin, [&](const std::string& key, const nlohmann::json&) -> const nlohmann::json& {
    if (!values.contains(key)) refuse(plugin, key, "is missing from the resolved config");
    return values.at(key);
  });
}

Options default_options(const plugin::Plugin& plugin) {
  return collect(plugin, [&](const std::string& key, const nlohmann::json& option) -> const nlohmann::json& {
    if (!option.contains("default")) refuse(plugin, key, "has no default and must be set");
    return option.at("default");
  });
}

}  // namespace tetrad::cli
