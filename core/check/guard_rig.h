// A sensor under check, and programs that take memory for it to find. Every reading goes through read(),
// which holds it against what no truthful sensor says.
#pragma once

#include "check/target.h"
#include "plugin/loader.h"

#include <tetrad/base/guard_sensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tetrad::check {

// Longer than this the guard waits for no reading: it ends the sensor's helper.
inline constexpr double guard_deadline_secs = 2;

class GuardRig {
 public:
  // Opens and probes. Throws Skip where the sensor says that there is nothing to observe here, Failure when
  // it says it wrongly.
  explicit GuardRig(const Target& target);

  const std::string& evidence() const noexcept { return evidence_; }
  double slowest_secs() const noexcept { return slowest_; }

  // One reading. Throws Failure where it is late or lies.
  GuardSample read(const std::vector<GuardProcess>& tree, bool want_shares);

  // Readings of shares of `tree` that began after this call. Throws Skip where the sensor gives none while it
  // could have read three times.
  GuardSample fresh_shares(const std::vector<GuardProcess>& tree);

 private:
  plugin::Handle<GuardSensor> sensor_;
  std::string evidence_;
  double slowest_ = 0;
};

// Throws Failure naming what cannot be true of a reading that ended at `end_ns`.
void require_sane(const GuardSample& sample, std::int64_t end_ns);

// A process that has memory until the object ends: its own pages, or those of `shared`, which it touches.
class Holder {
 public:
  Holder(std::size_t own_bytes, void* shared = nullptr, std::size_t shared_bytes = 0);
  ~Holder() { end(); }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  GuardProcess process() const noexcept { return process_; }
  void end() noexcept;

 private:
  GuardProcess process_;
};

}  // namespace tetrad::check
