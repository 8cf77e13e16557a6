#include "cli/host/commands.h"
#include "cli/launch/engine_path.h"
#include "cli/supervise/supervisor.h"
#include "guard/settings.h"

#include <cstdlib>
#include <utility>

namespace tetrad::cli {

std::string engine_file(const Arguments& arguments) {
  return arguments.engine.empty() ? find_engine(program_folder()).string() : arguments.engine;
}

int judge_in_engine(const Arguments& arguments, RunMessage run) {
  guard::Settings limits;
  limits.limit_gb = guard::LimitWord::automatic;
  Supervision supervision;
  supervision.limits = guard::make_limits(limits, guard::read_capacity());
  run.guard_limit_bytes = supervision.limits->limit_bytes;
  // Hundreds of tiny products: threads that spin between them take minutes where the machine has other work.
  ::setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
  Program engine;
  engine.file = engine_file(arguments);
  return supervise(std::move(engine), run, supervision).exit_code;
}

}  // namespace tetrad::cli
