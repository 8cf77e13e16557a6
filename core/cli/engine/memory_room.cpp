#include "cli/engine/memory_room.h"

#include "train/trainer/bytes_text.h"

#include <fmt/format.h>

namespace tetrad::cli {

std::string MemoryRoom::shortage(std::int64_t more) const {
  return fmt::format("needs about {} beside the {} in use, and {} is {}", train::bytes_text(more),
                     train::bytes_text(used_bytes), limit, train::bytes_text(limit_bytes));
}

}  // namespace tetrad::cli
