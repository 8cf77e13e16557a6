#include "train/trainer/memory_phases.h"

#include "io/memory.h"

#include "train/trainer/bytes_text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace tetrad::train {

void MemoryPhases::record(std::int64_t step, const std::string& phase, const DeviceMemory& device,
                          const CategoryBytes& categories) {
  const auto memory = io::host_memory();
  last_host_ = memory ? static_cast<std::int64_t>(memory->host()) : 0;
  host_peak_ = std::max(host_peak_, last_host_);
  Entry entry{step, phase, last_host_, host_peak_, device, categories};
  if (step <= 2) {
    entries_.push_back(std::move(entry));
    return;
  }
  for (Entry& kept : entries_) {
    if (kept.step <= 2 || kept.phase != phase) continue;
    if (entry.host + entry.device.live_bytes > kept.host + kept.device.live_bytes) kept = std::move(entry);
    return;
  }
  entries_.push_back(std::move(entry));
}

nlohmann::json MemoryPhases::json() const {
  nlohmann::json phases = nlohmann::json::array();
  for (const Entry& e : entries_)
    phases.push_back({{"step", e.step},
                      {"phase", e.phase},
                      {"host_bytes", e.host},
                      {"host_peak_bytes", e.host_peak},
                      {"device_live_bytes", e.device.live_bytes},
                      {"device_live_peak_bytes", e.device.live_peak_bytes},
                      {"device_reserved_bytes", e.device.reserved_bytes},
                      {"device_used_bytes", e.device.device_used_bytes},
                      {"categories",
                       {{"weights", e.categories.weights},
                        {"gradients", e.categories.gradients},
                        {"m", e.categories.m},
                        {"v", e.categories.v},
                        {"master", e.categories.master},
                        {"activations", e.categories.activations},
                        {"workspace", e.categories.workspace},
                        {"sum", e.categories.sum()}}}});
  return phases;
}

std::string MemoryPhases::text() const {
  std::string text = fmt::format("{:>4}  {:<20} {:>10} {:>11} {:>10} {:>10} {:>10} {:>10} {:>11} {:>10}\n",
                                 "step", "phase", "host", "device live", "weights", "gradients", "m + v",
                                 "master", "activations", "workspace");
  for (const Entry& e : entries_)
    text += fmt::format("{:>4}  {:<20} {:>10} {:>11} {:>10} {:>10} {:>10} {:>10} {:>11} {:>10}\n", e.step,
                        e.phase, bytes_text(e.host), bytes_text(e.device.live_bytes),
                        bytes_text(e.categories.weights), bytes_text(e.categories.gradients),
                        bytes_text(e.categories.m + e.categories.v), bytes_text(e.categories.master),
                        bytes_text(e.categories.activations), bytes_text(e.categories.workspace));
  return text;
}

}  // namespace tetrad::train
