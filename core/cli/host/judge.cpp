#include "cli/host/commands.h"
#include "cli/launch/engine_environment.h"
#include "cli/launch/engine_path.h"
#include "cli/supervise/supervisor.h"
#include "guard/settings.h"

#include <utility>

namespace tetrad::cli {

int judge_in_engine(const Arguments& arguments, RunMessage run) {
  guard::Settings limits;
  limits.limit_gb = guard::LimitWord::automatic;
  Supervision supervision;
  supervision.limits = guard::make_limits(limits, guard::read_capacity());
  run.guard_limit_bytes = supervision.limits->limit_bytes;
  let_threads_wait();  // hundreds of tiny products
  Program engine;
  engine.file = engine_file(arguments.engine);
  return supervise(std::move(engine), run, supervision).exit_code;
}

}  // namespace tetrad::cli
