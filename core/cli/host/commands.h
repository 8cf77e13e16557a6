// What each command of `host` does once its arguments are known. Results on stdout, everything else on
// stderr; the return value is the exit code, failures are thrown as Error.
#pragma once

#include "cli/host/arguments.h"
#include "cli/protocol/messages.h"

#include <string>
#include <vector>

namespace tetrad::cli {

// run, chat, generate, eval, bench, logits: starts the engine under the guard. `command_line` is kept with
// the run.
int run_model_command(const Arguments& arguments, const std::vector<std::string>& command_line);

// Whether a run's config says `task: parity`.
bool asks_for_parity(const Arguments& arguments);
int run_parity_command(const Arguments& arguments, const std::vector<std::string>& command_line);

int run_config_command(const Arguments& arguments);
int run_plugins_command(const Arguments& arguments);
int run_tokenize_command(const Arguments& arguments);
int run_guard_command(const Arguments& arguments);
int run_guard_status_command(const Arguments& arguments);
int run_guard_verify_command(const Arguments& arguments);
// What `host guard --verify` starts to be ended: takes memory, as a "program" or a "daemon".
inline constexpr const char* guard_hog_command = "guard-hog";
int run_guard_hog(const std::string& how);
// The helper process of one sensor plugin; see sensor_command.cpp.
int run_sensor_command(const std::string& file);
int run_runs_command(const Arguments& arguments);
int run_checkpoints_command(const Arguments& arguments);
int run_doctor_command(const Arguments& arguments);
int run_convert_command(const Arguments& arguments);

// Starts the engine on code that nobody knows yet (`plugins check`, `doctor --verify`): under a guard with
// the machine's automatic limit. Returns the exit code.
int judge_in_engine(const Arguments& arguments, RunMessage run);

}  // namespace tetrad::cli
