// host: the launcher. Parses, checks and shows by itself, in milliseconds and without libtorch; starts the
// engine for the rest and watches over it.
#include "cli/host/commands.h"

#include "config/diagnostics.h"
#include "guard/sensor_feed.h"

#include <fcntl.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace {

using tetrad::cli::Arguments;

int dispatch(const Arguments& arguments, const std::vector<std::string>& command_line) {
  const std::string& command = arguments.command;
  if (command.starts_with("config ")) return tetrad::cli::run_config_command(arguments);
  if (command.starts_with("plugins ")) return tetrad::cli::run_plugins_command(arguments);
  if (command.starts_with("checkpoints ")) return tetrad::cli::run_checkpoints_command(arguments);
  if (command.starts_with("runs ")) return tetrad::cli::run_runs_command(arguments);
  if (command == "parity" || command.starts_with("parity "))
    return tetrad::cli::run_parity_command(arguments, command_line);
  if (command == "tokenize") return tetrad::cli::run_tokenize_command(arguments);
  if (command == "guard status") return tetrad::cli::run_guard_status_command(arguments);
  if (command == "guard" && arguments.verify) return tetrad::cli::run_guard_verify_command(arguments);
  if (command == "guard") return tetrad::cli::run_guard_command(arguments);
  if (command == "doctor") return tetrad::cli::run_doctor_command(arguments);
  if (command == "convert") return tetrad::cli::run_convert_command(arguments);
  return tetrad::cli::run_model_command(arguments, command_line);
}

// A closed standard stream would give its number to the next file or socket that is opened, and the engine
// would take that for its input or output.
void occupy_standard_streams() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

// A result that could not be written (disk full, closed pipe) is no success.
int after_output(int code) {
  const bool written = std::cout.flush().good() && std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (written) return code;
  throw tetrad::Error("[host] the result could not be written to standard output");
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_streams();
  try {
    if (argc == 3 && std::string_view(argv[1]) == tetrad::guard::helper_command)
      return tetrad::cli::run_sensor_command(argv[2]);
    if (argc == 3 && std::string_view(argv[1]) == tetrad::cli::guard_hog_command)
      return tetrad::cli::run_guard_hog(argv[2]);
    const tetrad::cli::Parsed parsed = tetrad::cli::parse_arguments(argc, argv);
    if (parsed.answer) {
      std::fputs(parsed.answer->text.c_str(), stdout);
      return after_output(0);
    }
    return after_output(dispatch(parsed.arguments, {argv, argv + argc}));
  } catch (const tetrad::config::ConfigError& e) {
    std::fprintf(stderr, "%s\n", e.what());  // one line per error, each with its place
    return static_cast<int>(e.code());
  } catch (const tetrad::Error& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: [host] %s\n", e.what());
    return static_cast<int>(tetrad::ExitCode::runtime);
  }
}
