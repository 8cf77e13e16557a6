// The verdict on one arm: what was measured, what is allowed, and where that number comes from. Given numbers
// (parity.tolerance) come first; a figure without one is judged by the reference's own noise where the sweep
// measured it, else by the plugins' numerics contracts.
#pragma once

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace tetrad::parity {

class Checks {
 public:
  // `measured` above `allowed` (or not finite) fails with the reason "<figure>_above". `where` is added to
  // the check and to its reason: {"layer", "tensor"}, {"position"} ...
  void at_most(const char* figure, double measured, double allowed, const char* source,
               nlohmann::json where = nullptr);
  // `measured` below `allowed` fails with "<figure>_below".
  void at_least(const char* figure, double measured, double allowed, const char* source,
                nlohmann::json where = nullptr);
  // Something that no number allows: fails with reason `code`.
  void fail(const char* code, nlohmann::json where = nullptr);
  // The comparison has no meaning, for this reason; outweighs failures.
  void cannot_compare(const char* code, nlohmann::json where = nullptr);

  bool comparable() const noexcept { return comparable_; }
  const nlohmann::json& checks() const noexcept { return checks_; }
  // {"word": "pass" | "fail" | "not_comparable", "reasons": [...]}
  nlohmann::json verdict() const;

 private:
  void add(const char* figure, const char* suffix, bool ok, double measured, double allowed,
           const char* source, const nlohmann::json& where);

  nlohmann::json checks_ = nlohmann::json::array();
  nlohmann::json failures_ = nlohmann::json::array();
  nlohmann::json obstacles_ = nlohmann::json::array();
  bool comparable_ = true;
};

}  // namespace tetrad::parity
