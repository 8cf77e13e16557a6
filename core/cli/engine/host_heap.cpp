#include "cli/engine/host_heap.h"

#include <malloc.h>

namespace tetrad::cli {

// By default glibc gives blocks of some MiB back to the system when they are freed and takes them anew,
// zeroed page by page, for the next operation: a sixth of a prefill's time. Weights and caches, which are
// larger, still go back at once.
void keep_temporaries() noexcept {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 16 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
#endif
}

// The heap's end alone goes back by itself, and only as far as nothing lies there: in a training step, where
// long-lived and short-lived blocks are taken in turns, some hundred MiB stay behind.
void give_back_freed() noexcept {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace tetrad::cli
