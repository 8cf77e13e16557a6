// Runs one program to its end and watches over it: the engine (with a control channel) or any command (`host
// guard`). One loop on one thread waits for signals, messages and the guard's next reading; nothing in it
// blocks.
//
// The child stays in our process group, so that the terminal's foreground job is both of us: it may read the
// terminal, Ctrl-Z stops both and the shell continues both. Ctrl-C reaches both too; an engine ignores it and
// gets a message:
//   first Ctrl-C       {"type":"stop"}: ends the current generation; while the model is loading it ends the
//   program second             SIGTERM, after interrupt_grace_secs SIGKILL of the tree; a third one at once
// SIGTERM and SIGHUP pass on to the child, with SIGKILL of the tree after term_grace_secs; SIGQUIT passes on.
// Processes that the child leaves behind are killed when it ends. The terminal is put back as it was.
//
// With limits the guard (core/guard) watches: in the soft stage an engine gets {"type":"soft"} and a plain
// program SIGTERM; in the hard stage the whole tree gets SIGKILL. A terminal that goes away does not end the
// watching.
#pragma once

#include "cli/protocol/messages.h"
#include "cli/supervise/spawn.h"
#include "guard/policy.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace tetrad::cli {

// A sensor plugin to run in a helper process.
struct SensorChoice {
  std::string id;
  std::string file;
};

struct Supervision {
  std::optional<guard::Limits> limits;  // nothing: no guard, and no guard lines
  std::vector<SensorChoice> sensors;
  bool allow_blind = true;  // false: a sensor that cannot observe is Error(guard_blind), nothing is started
  std::string report_file;  // JSON report of a kill; the text beside it, .json replaced by .txt. "": none
  std::string log_file;     // log of the guard's readings (guard/log_lines.h); "": none
  double log_mb = 64;       // most that it takes, in MiB
  double interrupt_grace_secs = 2;
  double term_grace_secs = 5;
  // Printed on stderr at the engine's first phase, so that the engine's own first line stays the run's first;
  // at once for a program without a control channel.
  std::vector<std::string> opening_lines;
  bool quiet = false;     // no opening lines, and no last line of the guard: one of many runs
  bool stoppable = true;  // false: the first Ctrl-C ends an engine that has nothing to stop in between
};

enum class End {
  ended,        // the program's own doing, well or badly: see the exit code
  guard,        // the guard killed it
  interrupted,  // we ended it because of a signal that we got
  crashed,      // another signal ended it, or the engine ended without its last message
};

struct Outcome {
  int exit_code = 0;
  End end = End::ended;
  int signal = 0;      // that we got and passed on: the program was to end, however it ended
  std::string reason;  // one line; empty after a good end, and where only the exit code is known
  // Highest memory of all processes together and lowest memory available on the machine, as the guard saw
  // them; nothing where it did not look.
  std::optional<std::uint64_t> peak_tree_bytes, lowest_available_bytes;
  nlohmann::json kill_report;  // of the guard; null where it did not kill
};

// Exit code: the program's own; 128 + n where signal n ended it, with n = 2, 15 or 1 where we ended it
// because of that signal; 124 where the guard did. An engine that ends without its last message is reported
// on stderr. `run`: the engine's first message; nothing for a program without a control channel. Throws Error
// when the program cannot be started.
Outcome supervise(Program program, const std::optional<RunMessage>& run, const Supervision& supervision);

}  // namespace tetrad::cli
