// What ends the guarded tree when the guard itself is killed: a small process beside it that waits for the
// guard's death and then kills everybody whom the guard last listed, what has forked from them since, and the
// control group where there is one. (The kernel's death signal reaches the direct child only, and that
// already at once; the keeper is for daemons and grandchildren.) It does nothing else and is ended by a guard
// that ends in order.
#pragma once

#include "guard/group.h"
#include "guard/page.h"

#include <sys/types.h>

#include <span>

namespace tetrad::guard {

class Keeper {
 public:
  // Forks; call it while this process has one thread. Without success pid() is -1.
  explicit Keeper(const Group& group);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  pid_t pid() const noexcept { return pid_; }
  void tell(std::span<const GuardProcess> tree) noexcept;
  void ended() noexcept { pid_ = -1; }  // somebody ended it, and the supervisor has collected it

 private:
  Published<PageTree>* list_ = nullptr;
  pid_t pid_ = -1;
};

}  // namespace tetrad::guard
