// Framing of the launcher <-> engine control channel: a uint32 little-endian byte count, then that many bytes
// of UTF-8 JSON, at most max_frame_bytes. Both sides treat the stream as hostile: a size over the limit is
// refused before any memory is taken for it, and the buffer grows only as bytes really arrive. No file
// descriptors here: see channel.h.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tetrad::cli {

inline constexpr std::size_t max_frame_bytes = std::size_t{64} << 20;
inline constexpr std::size_t frame_header_bytes = 4;
inline constexpr int max_json_depth = 128;

// One frame, header included. Throws Error when the message holds invalid UTF-8 or is larger than the limit.
std::string encode_frame(const nlohmann::json& message);

// Parses a frame's payload. Throws Error on malformed JSON, invalid UTF-8, nesting deeper than
// max_json_depth, or anything but an object.
nlohmann::json parse_payload(std::string_view payload);

// Cuts a byte stream into payloads. After a throw the decoder is unusable: a stream that lied once has no
// frame boundary left to trust.
class FrameDecoder {
 public:
  explicit FrameDecoder(std::size_t limit = max_frame_bytes) : limit_(limit) {}

  void append(std::string_view bytes) { buffer_.append(bytes); }

  // The next complete payload, or nothing yet. Throws Error when the announced size is zero or over the
  // limit.
  std::optional<std::string> next();

  // True while a frame has begun and is incomplete: an end of stream now is a truncation.
  bool mid_frame() const noexcept { return start_ < buffer_.size(); }

 private:
  std::size_t limit_;
  std::string buffer_;
  std::size_t start_ = 0;  // consumed prefix of buffer_
};

}  // namespace tetrad::cli
