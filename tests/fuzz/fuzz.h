// What the fuzz targets share: a file in memory that has a path, and the rule for refusals. Contract of every
// target: whatever the bytes, the parser returns or throws tetrad::Error, within bounded time and memory, and
// the error's text may be printed to a terminal as it is: valid UTF-8 without control characters.
#pragma once

#include <tetrad/base/error.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace tetrad::fuzz {

// Ends the process, as a crash would, so that every driver keeps the input.
inline void require(bool holds, std::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

inline void require_printable(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const text::Utf8Char c = text::decode_utf8(text, at);
    const bool control = c.code_point != U'\n' && c.code_point != U'\t' &&
                         (c.code_point < 0x20 || (c.code_point >= 0x7F && c.code_point < 0xA0));
    if (c.status != text::Utf8Status::valid || control) {
      std::fprintf(stderr, "fuzz: at byte %zu of the message: %.*s\n", at, static_cast<int>(text.size()),
                   text.data());
      require(false, "an error message that is not fit for a terminal");
    }
    at += c.length;
  }
  constexpr std::size_t longest = 64 << 10;
  require(text.size() < longest, "an error message of more than 64 KiB");
}

// Runs `parse`; true when it accepted the input, false when it refused it properly.
template <class Parse>
bool accepts(Parse&& parse) {
  try {
    std::forward<Parse>(parse)();
    return true;
  } catch (const Error& error) {
    require_printable(error.what());
    return false;
  }
}

inline std::string_view view(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A regular file without a place on disk, for parsers that want a path.
class MemoryFile {
 public:
  MemoryFile() : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) { require(fd_ >= 0, "no memfd"); }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  void assign(const std::uint8_t* data, std::size_t size) const {
    require(::ftruncate(fd_, 0) == 0, "ftruncate failed");
    require(::pwrite(fd_, data, size, 0) == static_cast<ssize_t>(size), "pwrite failed");
  }
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

}  // namespace tetrad::fuzz
