#include "cli/host/commands.h"
#include "cli/launch/prepare.h"
#include "config/commands.h"

#include <iostream>

namespace tetrad::cli {

int run_config_command(const Arguments& arguments) {
  const plugin::Registry registry = open_registry(arguments.plugin_paths, arguments.files, arguments.sets);
  const config::CommandContext context{std::cout, std::cerr, option_lookup(registry),
                                       [&registry] { return all_option_schemas(registry); }};
  if (arguments.command == "config validate") {
    return config::validate_command({arguments.files, arguments.sets, arguments.json}, context);
  }
  if (arguments.command == "config show") {
    return config::show_command(
        {{arguments.files.at(0), arguments.sets}, arguments.origins, arguments.json, arguments.key}, context);
  }
  if (arguments.command == "config schema") {
    return config::schema_command({arguments.json, arguments.markdown, arguments.key}, context);
  }
  return config::diff_command({arguments.files.at(0), arguments.files.at(1), arguments.sets, arguments.json},
                              context);
}

}  // namespace tetrad::cli
