// glibc's heap as this process uses it. Two settings pull apart: temporaries of a product are some MiB each
// and should stay with the process between two of them, and memory that is not in use should not be counted
// as if it were. So the heap keeps what is freed, and whoever comes to a point where little is in use (the
// end of a training step, the guard's soft stage) gives it back.
#pragma once

namespace tetrad::cli {

// Once, at the start of the process.
void keep_temporaries() noexcept;

// Gives freed memory back to the system, from the middle of the heap too. Costs about a millisecond for ten
// MiB that were freed and are taken anew.
void give_back_freed() noexcept;

}  // namespace tetrad::cli
