#include "train/checkpoint/checksum.h"

#define XXH_INLINE_ALL  // compiled in here, so that the library itself is not needed to run
#include <xxhash.h>

namespace tetrad::train {

struct Checksum::State {
  XXH3_state_t xxh;  // aligned to 64 bytes, which operator new keeps to
};

Checksum::Checksum() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(&state_->xxh);
}
Checksum::~Checksum() = default;
Checksum::Checksum(Checksum&&) noexcept = default;
Checksum& Checksum::operator=(Checksum&&) noexcept = default;

Checksum& Checksum::update(std::span<const std::byte> bytes) noexcept {
  if (!bytes.empty()) XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
  return *this;
}

std::string Checksum::hex() const {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state_->xxh));
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : canonical.digest) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

std::string checksum_hex(std::span<const std::byte> bytes) {
  return Checksum().update(bytes).hex();
}

}  // namespace tetrad::train
