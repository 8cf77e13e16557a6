#include "cli/launch/option_arguments.h"

#include "config/compose.h"
#include "config/emit.h"
#include "config/option_schema.h"
#include "config/validate.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <array>

namespace tetrad::cli {
namespace {

// The config room checks options where a config has them; any kind's options can stand there.
constexpr const char* section = "linear";

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

// What a config calls --set linear.options.x=1 is --option x=1 here.
std::string as_options(std::string text) {
  const std::string path = std::string(section) + ".options";
  replace_all(text, "--set " + path + ".", "--option ");
  replace_all(text, path + ".", "");
  replace_all(text, " in " + path, " in the options");
  return text;
}

bool has_key(const config::OptionSchema& schema, const std::string& key) {
  return std::any_of(schema.fields.begin(), schema.fields.end(),
                     [&](const config::Field& field) { return field.key == key; });
}

}  // namespace

nlohmann::json read_option_arguments(const plugin::Metadata& plugin,
                                     const std::vector<std::string>& arguments) {
  std::vector<config::OptionSchema> schemas;
  for (const std::string& kind : plugin.kinds)
    schemas.push_back(config::option_schema_from_json(section, plugin.id, plugin.options_for(kind)));
  nlohmann::json result = nlohmann::json::object();
  for (std::size_t i = 0; i < schemas.size(); ++i) {
    std::vector<std::string> sets = {std::string(section) + ".plugin=" + plugin.id, "kv_cache.plugin=none"};
    for (const std::string& argument : arguments) {
      if (argument.find('=') == std::string::npos) {
        throw Error(ExitCode::usage, "[cli] --option '" + argument + "': expected KEY=VALUE");
      }
      const std::string key = argument.substr(0, argument.find('='));
      const bool anywhere =
          std::any_of(schemas.begin(), schemas.end(),
                      [&](const config::OptionSchema& schema) { return has_key(schema, key); });
      // What no kind knows is reported once.
      if (has_key(schemas[i], key) || (!anywhere && i == 0))
        sets.push_back(std::string(section) + ".options." + argument);
    }
    try {
      const config::Resolved resolved = config::validate(config::compose({}, sets), std::array{schemas[i]});
      result[plugin.kinds[i]] = config::to_json(resolved.at(std::string(section) + ".options"));
    } catch (const config::ConfigError& e) {
      throw Error(ExitCode::usage, "[cli] " + as_options(e.what()));
    }
  }
  return result;
}

}  // namespace tetrad::cli
