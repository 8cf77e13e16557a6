// Checksum of a tensor's bytes: XXH3-128 of the xxHash library, as 32 hexadecimal digits (what `xxhsum -H2`
// prints). It finds every accident and runs at the memory's speed, where SHA-256 would hold a run up for a
// minute with each checkpoint of a 4B model; it does not defend against an author of bad intent, and neither
// would any checksum that lies beside the bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace tetrad::train {

class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(Checksum&&) noexcept;
  Checksum& operator=(Checksum&&) noexcept;

  Checksum& update(std::span<const std::byte> bytes) noexcept;
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string checksum_hex(std::span<const std::byte> bytes);

}  // namespace tetrad::train
