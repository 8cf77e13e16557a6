// Answers to "can you do this here?". A plugin never falls back silently: it says native, emulated or
// unsupported with the reason, and the host prints and stores what was taken.
#pragma once

#include <cstdint>
#include <string>

namespace tetrad {

enum class Support : std::uint8_t {
  native,    // the format's own arithmetic on this device
  emulated,  // the same numbers up to summation order, by other means (W4A16 on a device without FP4 cores)
  unsupported,
};

struct Capability {
  Support support = Support::unsupported;
  std::string compute;  // short name of what would run, e.g. "reference", "emulated-w4a16", "dense"
  std::string reason;   // one sentence; for unsupported: what is missing and what to do
};

inline const char* support_name(Support support) noexcept {
  switch (support) {
    case Support::native:
      return "native";
    case Support::emulated:
      return "emulated";
    case Support::unsupported:
      return "unsupported";
  }
  return "unknown";
}

}  // namespace tetrad
