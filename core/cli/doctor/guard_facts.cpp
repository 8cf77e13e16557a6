#include "cli/doctor/guard_facts.h"

#include "guard/group.h"
#include "guard/self.h"
#include "guard/sensor_feed.h"
#include "guard/settings.h"
#include "guard/tree.h"

#include <poll.h>
#include <tetrad/base/error.h>

#include <memory>

namespace tetrad::cli {

using nlohmann::json;

json guard_facts(const std::vector<SensorChoice>& sensors, std::int64_t deadline_ns) {
  const guard::Capacity capacity = guard::read_capacity();
  json facts = {{"auto_limit_bytes",
                 capacity.total_bytes ? json(guard::automatic_limit(*capacity.total_bytes)) : json(nullptr)},
                {"sensors", json::array()}};
  facts["sensors"].push_back(
      {{"id", "guard-host"},
       {"evidence", "built in: memory of processes and of the machine"},
       {"problem",
        capacity.process_memory_readable ? json(nullptr) : json("the memory of processes cannot be read")}});
  std::vector<std::unique_ptr<guard::SensorFeed>> feeds;
  for (const SensorChoice& sensor : sensors)
    feeds.push_back(std::make_unique<guard::SensorFeed>(sensor.id, "/proc/self/exe", sensor.file));
  for (const auto& feed : feeds) {
    feed->update(guard::monotonic_ns());
    while (!feed->answered() && guard::monotonic_ns() < deadline_ns) {
      ::poll(nullptr, 0, 5);
      feed->update(guard::monotonic_ns());
    }
    const std::string problem = feed->answered() ? feed->problem() : "no answer in time; the driver may hang";
    facts["sensors"].push_back({{"id", feed->id()},
                                {"evidence", feed->evidence()},
                                {"problem", problem.empty() ? json(nullptr) : json(problem)}});
  }
  const guard::Group group;
  facts["control_group"] = group.exists() ? json(group.path().parent_path().string()) : json(nullptr);
  facts["control_group_problem"] = group.exists() ? json(nullptr) : json(group.why());
  const guard::Standing standing = guard::protect_self();
  facts["locked"] = standing.locked;
  facts["prioritised"] = standing.prioritised;
  facts["spared_by_oom"] = standing.spared;
  facts["refused"] = standing.refused;
  return facts;
}

}  // namespace tetrad::cli
