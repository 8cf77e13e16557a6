#include "check/suite.h"

#include "check/guard_cases.h"
#include "check/kv_cases.h"
#include "check/linear_cases.h"
#include "check/linear_rig.h"
#include "check/optimizer_cases.h"
#include "plugin/loader.h"

#include <fmt/format.h>
#include <tetrad/torch/kv_policy.h>

namespace tetrad::check {
namespace {

// An object of a kind whose interface need not be known: it is made and ended, never used.
struct Anything {};

Result check_open(const Target& target) {
  plugin::Plugin& plugin = plugin::load_for_device(target.file, target.cuda());
  int objects = 0;
  for (const std::string& kind : target.kinds) {
    plugin::Handle<Anything> first = plugin::create<Anything>(plugin, kind, target.options.at(kind));
    plugin::Handle<Anything> second = plugin::create<Anything>(plugin, kind, target.options.at(kind));
    first.reset();
    plugin::Handle<Anything> third = plugin::create<Anything>(plugin, kind, target.options.at(kind));
    objects += 3;
  }
  // One object is left to shutdown(), as at the end of a run.
  plugin::Handle<Anything> left =
      plugin::create<Anything>(plugin, target.kinds.front(), target.options.at(target.kinds.front()));
  plugin::shutdown();
  return {fmt::format("{} objects made and ended, closed", objects + 1), {}, {}};
}

}  // namespace

std::vector<Case> cases_for(const Target& target) {
  std::vector<Case> cases;
  cases.push_back({"open", [&target] { return check_open(target); }});
  for (const std::string& kind : target.kinds) {
    std::vector<Case> more;
    if (kind == "linear") {
      more = linear_cases(target);
    } else if (kind == "kv_cache") {
      more = kv_cases(target);
    } else if (kind == "optimizer") {
      more = optimizer_cases(target);
    } else if (kind == "guard") {
      more = guard_cases(target);
    } else {
      more.push_back({kind + "/known", [kind]() -> Result {
                        throw Failure(
                            fmt::format("this host has no checks for kind '{}' (it has some for linear, "
                                        "kv_cache, optimizer and guard): that its "
                                        "objects can be made is all that was seen",
                                        kind));
                      }});
    }
    cases.insert(cases.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return cases;
}

}  // namespace tetrad::check
