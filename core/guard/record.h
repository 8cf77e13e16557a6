// What the guard keeps of a run to explain a kill: the last samples, and after a kill who used what and what
// was done in which millisecond. As JSON for programs and as text for people. Unknown values are null and
// "unknown", never 0.
#pragma once

#include "guard/policy.h"

#include <sys/types.h>
#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::guard {

struct SampleEntry {
  Sample sample;
  Verdict verdict = Verdict::ok;
};

// The last samples; adding one allocates nothing.
class SampleRing {
 public:
  void add(const Sample& sample, Verdict verdict) noexcept;
  std::vector<SampleEntry> list() const;  // oldest first

 private:
  static constexpr std::size_t size = 1000;
  std::vector<SampleEntry> ring_ = std::vector<SampleEntry>(size);
  std::size_t next_ = 0;
  std::size_t count_ = 0;
};

struct ProcessUse {
  pid_t pid = 0;
  std::string name;
  std::uint64_t host_bytes = 0;
  std::optional<std::uint64_t> device_bytes;
};

struct KillRecord {
  Limits limits;
  Sample sample;  // that decided
  Decision decision;
  State state;
  std::string phase;
  std::string sensors;
  std::vector<ProcessUse> processes;  // largest first
  std::size_t process_count = 0;
  double reaction_secs = 0;
  // CLOCK_MONOTONIC; 0 = did not happen.
  std::int64_t started_ns = 0;      // the run
  std::int64_t soft_ns = 0;         // the program was asked to give memory back
  std::int64_t soft_answer_ns = 0;  // and said what it gave
  std::int64_t decided_ns = 0;
  std::int64_t sent_ns = 0;    // SIGKILL has been sent to every process then known
  std::int64_t reaped_ns = 0;  // nobody was left
  std::size_t survivors = 0;
  bool by_group = false;  // through the control group
};

nlohmann::json to_json(const Sample& sample, Verdict verdict, std::int64_t origin_ns);
nlohmann::json to_json(const KillRecord& record, const std::vector<SampleEntry>& samples);

// Some ten lines, each ending in a newline.
std::string to_text(const KillRecord& record);

const char* verdict_name(Verdict verdict) noexcept;

}  // namespace tetrad::guard
