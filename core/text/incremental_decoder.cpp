#include "text/incremental_decoder.h"

#include "text/utf8.h"

namespace tetrad::text {

std::string IncrementalDecoder::feed(std::int32_t id) {
  if (skip_special_ && tokenizer_.is_special(id)) return {};
  pending_ += tokenizer_.token_bytes(id);
  std::string out;
  std::size_t at = 0;
  while (at < pending_.size()) {
    const Utf8Char c = decode_utf8(pending_, at);
    if (c.status == Utf8Status::incomplete) break;
    if (c.status == Utf8Status::invalid && invalid_ == Invalid::replace) {
      append_utf8(out, 0xFFFD);
    } else {
      out.append(pending_, at, c.length);
    }
    at += c.length;
  }
  pending_.erase(0, at);
  return out;
}

std::size_t IncrementalDecoder::finish() {
  const std::size_t withheld = pending_.size();
  pending_.clear();
  return withheld;
}

}  // namespace tetrad::text
