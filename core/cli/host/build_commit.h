// The commit that this program was built from: "<40 hex digits>", "...-dirty" with changes on top, "unknown"
// outside a git checkout. A file of its own, because it is compiled anew with each commit.
#pragma once

namespace tetrad::cli {

const char* build_commit() noexcept;

}  // namespace tetrad::cli
