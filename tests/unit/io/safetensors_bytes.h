// Raw safetensors files for tests, built without the code under test: a header as given, and data as given.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tetrad::test {

inline std::string length_prefix(std::uint64_t value) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}

inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  return length_prefix(header.size()).append(header).append(data);
}

}  // namespace tetrad::test
