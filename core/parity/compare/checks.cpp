#include "parity/compare/checks.h"

#include "parity/fields.h"

#include <cmath>
#include <utility>

namespace tetrad::parity {

using nlohmann::json;

namespace {

json reason(const std::string& code, const json& where) {
  json result = {{"code", code}};
  if (where.is_object()) result.update(where);
  return result;
}

}  // namespace

void Checks::add(const char* figure, const char* suffix, bool ok, double measured, double allowed,
                 const char* source, const json& where) {
  const json numbers = {
      {"measured", finite_or_null(measured)}, {"allowed", finite_or_null(allowed)}, {"source", source}};
  json check = {{"figure", figure}, {"ok", ok}};
  check.update(numbers);
  if (where.is_object()) check.update(where);
  checks_.push_back(std::move(check));
  if (ok) return;
  json failed = reason(std::string(figure) + suffix, where);
  failed["figure"] = figure;
  failed.update(numbers);
  failures_.push_back(std::move(failed));
}

void Checks::at_most(const char* figure, double measured, double allowed, const char* source, json where) {
  add(figure, "_above", std::isfinite(measured) && measured <= allowed, measured, allowed, source, where);
}

void Checks::at_least(const char* figure, double measured, double allowed, const char* source, json where) {
  add(figure, "_below", std::isfinite(measured) && measured >= allowed, measured, allowed, source, where);
}

void Checks::fail(const char* code, json where) {
  failures_.push_back(reason(code, where));
}

void Checks::cannot_compare(const char* code, json where) {
  obstacles_.push_back(reason(code, where));
  comparable_ = false;
}

json Checks::verdict() const {
  if (!comparable_) {
    json reasons = obstacles_;
    for (const json& failure : failures_) reasons.push_back(failure);
    return {{"word", "not_comparable"}, {"reasons", reasons}};
  }
  return {{"word", failures_.empty() ? "pass" : "fail"}, {"reasons", failures_}};
}

}  // namespace tetrad::parity
