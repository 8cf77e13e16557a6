// Normalizers of tokenizer.json: none, NFC, or a Sequence of these. Unicode data is utf8proc's; characters
// assigned after its Unicode version pass through unchanged.
#pragma once

#include "text/json_view.h"

#include <string>
#include <string_view>

namespace tetrad::text {

// Canonical composition (UAX #15) of valid UTF-8. Time n log n also for long runs of combining marks.
std::string normalize_nfc(std::string_view text);

class Normalizer {
 public:
  Normalizer() = default;
  // The "normalizer" field, null included. Throws Error naming a type that is not supported.
  explicit Normalizer(const JsonView& json);

  std::string apply(std::string_view text) const { return nfc_ ? normalize_nfc(text) : std::string(text); }
  bool is_identity() const noexcept { return !nfc_; }

 private:
  bool nfc_ = false;  // NFC is idempotent, so a sequence of NFCs is one
};

}  // namespace tetrad::text
