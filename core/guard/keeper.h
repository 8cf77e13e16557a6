// What ends the guarded tree when the guard itself is killed: a small process beside it that waits for the
// guard's death and then kills everybody whom the guard last listed, what has forked from them since, and the
// control group where there is one. (The kernel's death signal reaches the direct child only, and that
// already at once; the keeper is for daemons and grandchildren.) It is ended by a guard that ends in order.
//
// The guard has one more use for it: what gives back the memory of processes that it has killed (release())
// may take as long as that memory is large, and the guard itself must not wait.
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
  // SIGKILL has been sent to all of `killed`: the keeper gives their memory back, in this order, beside their
  // own ending. Nothing waits for it.
  void release(std::span<const GuardProcess> killed) noexcept;
  void ended() noexcept { pid_ = -1; }  // somebody ended it, and the supervisor has collected it

 private:
  Published<PageTree>* list_ = nullptr;
  int release_fd_ = -1;  // eventfd
  pid_t pid_ = -1;
};

}  // namespace tetrad::guard
