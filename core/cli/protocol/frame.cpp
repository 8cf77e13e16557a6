#include "cli/protocol/frame.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <nlohmann/json.hpp>

#include "sdk/base/printable.h"

namespace tetrad::cli {

using nlohmann::json;

std::string encode_frame(const json& message) {
  std::string payload;
  try {
    payload = message.dump();
  } catch (const json::exception& e) {
    throw Error(fmt::format("[control] a message cannot be sent: {}", json_problem(e.what())));
  }
  if (payload.size() > max_frame_bytes) {
    throw Error(fmt::format("[control] a message of {} bytes is over the limit of {} bytes", payload.size(),
                            max_frame_bytes));
  }
  const auto size = static_cast<std::uint32_t>(payload.size());
  std::string frame;
  frame.reserve(frame_header_bytes + payload.size());
  for (int shift = 0; shift < 32; shift += 8) frame.push_back(static_cast<char>((size >> shift) & 0xffU));
  frame += payload;
  return frame;
}

json parse_payload(std::string_view payload) {
  const json::parser_callback_t bounded = [](int depth, json::parse_event_t, json&) {
    if (depth > max_json_depth) {
      throw Error(fmt::format("[control] a message is nested deeper than {} levels", max_json_depth));
    }
    return true;
  };
  json message;
  try {
    message = json::parse(payload, bounded);
  } catch (const json::exception& e) {
    throw Error(fmt::format("[control] a message is not valid JSON: {}", json_problem(e.what())));
  }
  if (!message.is_object()) {
    throw Error(fmt::format("[control] a message must be a JSON object, not {}", message.type_name()));
  }
  return message;
}

std::optional<std::string> FrameDecoder::next() {
  const std::size_t available = buffer_.size() - start_;
  if (available < frame_header_bytes) return std::nullopt;
  std::uint32_t size = 0;
  for (std::size_t i = 0; i < frame_header_bytes; ++i) {
    size |= static_cast<std::uint32_t>(static_cast<unsigned char>(buffer_[start_ + i])) << (8 * i);
  }
  if (size == 0 || size > limit_) {
    throw Error(fmt::format("[control] a frame announces {} bytes; 1 to {} are allowed", size, limit_));
  }
  if (available - frame_header_bytes < size) return std::nullopt;
  std::string payload = buffer_.substr(start_ + frame_header_bytes, size);
  start_ += frame_header_bytes + size;
  if (start_ == buffer_.size()) {
    buffer_.clear();
    start_ = 0;
  } else if (start_ > (std::size_t{1} << 16)) {
    buffer_.erase(0, start_);
    start_ = 0;
  }
  return payload;
}

}  // namespace tetrad::cli
