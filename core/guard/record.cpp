#include "guard/record.h"

#include "guard/settings.h"
#include "sdk/base/or_null.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace tetrad::guard {

using nlohmann::json;

namespace {

json seconds_or_null(std::int64_t at_ns, std::int64_t origin_ns) {
  return at_ns == 0 ? json(nullptr) : json(static_cast<double>(at_ns - origin_ns) * 1e-9);
}

std::string milliseconds(std::int64_t at_ns, std::int64_t origin_ns) {
  return fmt::format("{:+.3f} ms", static_cast<double>(at_ns - origin_ns) * 1e-6);
}

}  // namespace

const char* verdict_name(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::ok:
      return "ok";
    case Verdict::soft:
      return "soft";
    case Verdict::over:
      return "over";
    case Verdict::kill:
      return "kill";
  }
  return "ok";
}

void SampleRing::add(const Sample& sample, Verdict verdict) noexcept {
  ring_[next_] = {sample, verdict};
  next_ = (next_ + 1) % size;
  count_ = std::min(count_ + 1, size);
}

std::vector<SampleEntry> SampleRing::list() const {
  std::vector<SampleEntry> entries;
  for (std::size_t back = count_; back > 0; --back) entries.push_back(ring_[(next_ + size - back) % size]);
  return entries;
}

json to_json(const Sample& sample, Verdict verdict, std::int64_t origin_ns) {
  return {{"t", static_cast<double>(sample.mono_ns - origin_ns) * 1e-9},
          {"tree_bytes", or_null(sample.tree_bytes)},
          {"device_bytes", or_null(sample.device_bytes)},
          {"available_bytes", or_null(sample.available_bytes)},
          {"verdict", verdict_name(verdict)}};
}

json to_json(const KillRecord& record, const std::vector<SampleEntry>& samples) {
  const std::int64_t origin = record.started_ns;
  json out = {{"origin_monotonic_ns", origin},
              {"rule", rule_name(record.decision.rule)},
              {"bytes", or_null(record.decision.bytes)},
              {"limit_bytes", or_null(record.decision.limit_bytes)},
              {"rate_bytes_per_s", record.decision.rate},
              {"phase", record.phase},
              {"sensors", record.sensors},
              {"unified", record.sample.unified},
              {"limits",
               {{"limit_bytes", or_null(record.limits.limit_bytes)},
                {"device_limit_bytes", or_null(record.limits.device_limit_bytes)},
                {"soft_bytes", or_null(record.limits.soft_bytes)},
                {"host_floor_bytes", record.limits.host_floor_bytes},
                {"over_secs", record.limits.over_secs},
                {"poll_secs", record.limits.poll_secs}}},
              {"tree_bytes", or_null(record.sample.tree_bytes)},
              {"device_bytes", or_null(record.sample.device_bytes)},
              {"available_bytes", or_null(record.sample.available_bytes)},
              {"peak_tree_bytes", or_null(record.state.peak_tree_bytes)},
              {"peak_device_bytes", or_null(record.state.peak_device_bytes)},
              {"lowest_available_bytes", or_null(record.state.lowest_available_bytes)},
              {"reaction_s", record.reaction_secs},
              {"times_s",
               {{"soft_asked", seconds_or_null(record.soft_ns, origin)},
                {"soft_answered", seconds_or_null(record.soft_answer_ns, origin)},
                {"decided", seconds_or_null(record.decided_ns, origin)},
                {"killed", seconds_or_null(record.sent_ns, origin)},
                {"all_gone", seconds_or_null(record.reaped_ns, origin)}}},
              {"killed_through", record.by_group ? "control group" : "processes"},
              {"process_count", record.process_count},
              {"survivors", record.survivors},
              {"processes", json::array()},
              {"samples", json::array()}};
  for (const ProcessUse& use : record.processes) {
    out["processes"].push_back({{"pid", use.pid},
                                {"name", use.name},
                                {"host_bytes", use.host_bytes},
                                {"device_bytes", or_null(use.device_bytes)}});
  }
  for (const SampleEntry& entry : samples)
    out["samples"].push_back(to_json(entry.sample, entry.verdict, origin));
  return out;
}

std::string to_text(const KillRecord& record) {
  const std::int64_t at = record.decided_ns;
  std::string text =
      fmt::format("The guard ended this run: rule {}, {} held against {}.\n", rule_name(record.decision.rule),
                  format_or_unknown(record.decision.rule == Rule::host_floor ? record.sample.available_bytes
                                                                             : record.decision.bytes),
                  record.decision.rule == Rule::host_floor
                      ? "a floor of " + format_mib(record.limits.host_floor_bytes) + " available"
                      : "a limit of " + format_or_unknown(record.decision.limit_bytes));
  text += fmt::format(
      "Host memory of the processes {}, device memory {}{}, available on the machine {}; growing "
      "by {:.0f} MiB/s; phase {}; sensors {}.\n",
      format_or_unknown(record.sample.tree_bytes), format_or_unknown(record.sample.device_bytes),
      record.sample.unified ? " (unified)" : "", format_or_unknown(record.sample.available_bytes),
      record.decision.rate / (1 << 20), record.phase, record.sensors);
  for (const ProcessUse& use : record.processes) {
    text += fmt::format("  pid {:>7}  {:<15}  host {:>10}  device {:>10}\n", use.pid, use.name,
                        format_mib(use.host_bytes), format_or_unknown(use.device_bytes));
  }
  if (record.process_count > record.processes.size())
    text += fmt::format("  and {} more processes\n", record.process_count - record.processes.size());
  if (record.soft_ns != 0) {
    text +=
        fmt::format("  {:>14}  asked the program to give memory back\n", milliseconds(record.soft_ns, at));
    if (record.soft_answer_ns != 0)
      text += fmt::format("  {:>14}  the program answered\n", milliseconds(record.soft_answer_ns, at));
  }
  text += fmt::format("  {:>14}  decided\n", milliseconds(record.decided_ns, at));
  text += fmt::format("  {:>14}  SIGKILL sent to {} processes{}\n", milliseconds(record.sent_ns, at),
                      record.process_count, record.by_group ? " (control group)" : "");
  if (record.reaped_ns != 0)
    text += fmt::format("  {:>14}  the last of them was gone\n", milliseconds(record.reaped_ns, at));
  if (record.survivors > 0)
    text += fmt::format("  {} processes hang inside the kernel and were left behind\n", record.survivors);
  return text;
}

}  // namespace tetrad::guard
