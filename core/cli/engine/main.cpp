// tetrad-engine: does the work that `host` asks for over the control channel. Not started by hand.
#include "cli/engine/commands.h"
#include "cli/engine/control.h"
#include "cli/engine/exception_text.h"
#include "cli/engine/host_heap.h"

#include "plugin/breadcrumb.h"
#include "plugin/loader.h"

#include <tetrad/base/error.h>

#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace {

using tetrad::ExitCode;

int fail(tetrad::cli::Control* control) {
  const auto [code, message] = tetrad::cli::describe_exception();
  std::fprintf(stderr, "error: %s\n", message.c_str());
  if (control != nullptr) control->status(code, message);
  return code;
}

}  // namespace

int main() {
  tetrad::plugin::install_crash_handler();
  tetrad::cli::keep_temporaries();
  const std::map<std::string, std::function<int(tetrad::cli::Control&)>> commands = {
      {"chat", tetrad::cli::run_chat},           {"generate", tetrad::cli::run_generate},
      {"logits", tetrad::cli::run_logits},       {"eval", tetrad::cli::run_eval},
      {"doctor", tetrad::cli::run_doctor},       {"why", tetrad::cli::run_why},
      {"check", tetrad::cli::run_check},         {"train", tetrad::cli::run_train},
      {"gradients", tetrad::cli::run_gradients}, {"verify", tetrad::cli::run_verify},
      {"bench", tetrad::cli::run_bench},         {"parity", tetrad::cli::run_parity},
  };
  std::unique_ptr<tetrad::cli::Control> control;
  try {
    control = std::make_unique<tetrad::cli::Control>();
    const auto command = commands.find(control->run().command);
    if (command == commands.end()) {
      throw tetrad::Error(ExitCode::usage, "[engine] unknown command '" + control->run().command + "'");
    }
    const int code = command->second(*control);
    std::fflush(stdout);
    tetrad::plugin::shutdown();
    control->status(code, "");
    return code;
  } catch (...) {
    return fail(control.get());
  }
}
