// SHA-256 (FIPS 180-4), streaming: for config hashes, interface hashes and file checksums. Not for secrets:
// no constant-time claims. update() takes any number of bytes any number of times; digest() closes the
// message once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tetrad {

class Sha256 {
 public:
  using Digest = std::array<std::uint8_t, 32>;

  Sha256() noexcept;

  Sha256& update(const void* data, std::size_t bytes) noexcept;
  Sha256& update(std::string_view bytes) noexcept { return update(bytes.data(), bytes.size()); }

  // Pads, finishes and returns the digest. The object must not be updated afterwards; assign a fresh one to
  // start over.
  Digest digest() noexcept;
  // digest() as 64 lower-case hexadecimal digits.
  std::string hex_digest();

 private:
  void compress(const std::uint8_t* block) noexcept;

  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> buffer_;  // the bytes of an unfinished block
  std::size_t buffered_ = 0;
  std::uint64_t total_bytes_ = 0;
};

// The 64 hexadecimal digits of one message.
std::string sha256_hex(std::string_view bytes);

}  // namespace tetrad
