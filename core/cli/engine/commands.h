// The engine's commands. Each takes what it needs from the run message, writes its result to stdout and
// everything else to stderr, and returns the exit code; failures are thrown as Error.
#pragma once

#include "cli/engine/control.h"

namespace tetrad::cli {

int run_chat(Control& control);
int run_generate(Control& control);
int run_logits(Control& control);
int run_eval(Control& control);
int run_gradients(Control& control);
int run_train(Control& control);
int run_bench(Control& control);
int run_parity(Control& control);
int run_doctor(Control& control);
int run_why(Control& control);
int run_check(Control& control);
int run_verify(Control& control);

}  // namespace tetrad::cli
