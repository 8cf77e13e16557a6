#include "check/guard_cases.h"

#include "check/guard_rig.h"
#include "guard/sensor_loop.h"
#include "guard/tree.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>

namespace tetrad::check {
namespace {

constexpr std::uint64_t mib = std::uint64_t{1} << 20;
constexpr std::uint64_t taken = 64 * mib;
constexpr std::uint64_t slack = 16 * mib;

std::uint64_t sum_of(const GuardSample& sample) {
  std::uint64_t sum = 0;
  for (const GuardShare& share : sample.shares) sum += share.proportional_bytes;
  return sum;
}

const GuardShare* share_of(const GuardSample& sample, const GuardProcess& process) {
  for (const GuardShare& share : sample.shares) {
    if (share.process.pid == process.pid && share.process.start_ticks == process.start_ticks) return &share;
  }
  return nullptr;
}

GuardProcess ourselves() {
  const auto stat = guard::read_stat(::getpid());
  return {::getpid(), stat ? stat->start_ticks : 0};
}

Result check_probe(const Target& target) {
  const GuardRig first(target);
  const GuardRig second(target);
  return {first.evidence(), {}, {}};
}

// Thirty readings: each true as far as can be seen, of the same devices, in time.
Result check_readings(const Target& target) {
  GuardRig rig(target);
  std::set<std::string> devices;
  for (int i = 0; i < 30; ++i) {
    const GuardSample sample = rig.read({ourselves()}, i % 2 == 0);
    std::set<std::string> now;
    for (const GuardDevice& device : sample.devices) now.insert(device.uuid + " " + device.name);
    if (i == 0) devices = now;
    require(now == devices, "two readings are of other devices");
    ::poll(nullptr, 0, 10);
  }
  return {fmt::format("{} devices, slowest reading {:.1f} ms", devices.size(), 1e3 * rig.slowest_secs()),
          {{"slowest_s", rig.slowest_secs()}, {"devices", devices.size()}},
          {}};
}

// Shares of programs whose memory is known.
Result check_shares(const Target& target) {
  GuardRig rig(target);
  const auto near = [](std::uint64_t bytes, std::uint64_t beside) {
    return bytes + slack >= beside + taken && bytes <= beside + taken + slack;
  };
  // What a test program has beside what it takes: pages of the program that it was forked from.
  const Holder idle(0);
  const auto beside_of = [&](const GuardSample& sample, std::size_t asked) {
    const GuardShare* share = share_of(sample, idle.process());
    require(share != nullptr && sample.shares.size() >= asked, "a living program has no share");
    require(sample.shares.size() == asked, "shares of processes that were not asked about");
    return share->proportional_bytes;
  };
  const Holder holder(taken);
  const GuardSample own = rig.fresh_shares({idle.process(), holder.process()});
  const std::uint64_t beside = beside_of(own, 2);
  const std::uint64_t alone = sum_of(own) - beside;
  require(near(alone, beside),
          fmt::format("a program that took 64 MiB of its own has a share of {} MiB, one that took nothing {}",
                      alone / mib, beside / mib));

  void* const common = ::mmap(nullptr, taken, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (common == MAP_FAILED) throw Failure("no memory for the test");
  const Holder one(0, common, taken), two(0, common, taken);
  ::munmap(common, taken);
  const GuardSample pair = rig.fresh_shares({idle.process(), one.process(), two.process()});
  const std::uint64_t idle_now = beside_of(pair, 3);
  const std::uint64_t both = sum_of(pair) - idle_now;
  require(near(both, 2 * idle_now),
          fmt::format("two programs that share 64 MiB have {} MiB together, one that took nothing {}: shared "
                      "pages count once",
                      both / mib, idle_now / mib));
  return {fmt::format("{} MiB of 64, {} of 64 shared, {} beside", alone / mib, both / mib, beside / mib),
          {{"own_bytes", alone}, {"shared_bytes", both}, {"beside_bytes", beside}},
          {}};
}

// A number that another process has now, and a process that has ended: nothing is said of them.
Result check_identity(const Target& target) {
  GuardRig rig(target);
  Holder holder(taken);
  const GuardProcess was = holder.process();
  const GuardProcess other = {was.pid, was.start_ticks + 1};
  static_cast<void>(rig.fresh_shares({was}));  // shares are read here
  const GuardSample reused = rig.fresh_shares({ourselves(), other});
  require(share_of(reused, other) == nullptr && share_of(reused, was) == nullptr,
          "the memory of a process is given to one that had its number before: compare start_ticks");
  holder.end();
  const GuardSample after = rig.fresh_shares({ourselves(), was});
  require(share_of(after, was) == nullptr, "a process that has ended still has a share");
  return {"numbers that were reused or have ended are left out", {}, {}};
}

// The guard may ask every few milliseconds; what burdens a driver or the kernel is read twice a second.
Result check_restraint(const Target& target) {
  constexpr double secs = 2;
  GuardRig rig(target);
  std::set<std::int64_t> shares, rows;
  int readings = 0;
  const std::int64_t end = guard::monotonic_ns() + static_cast<std::int64_t>(secs * 1e9);
  while (guard::monotonic_ns() < end) {
    const GuardSample sample = rig.read({ourselves()}, true);
    ++readings;
    if (!sample.shares.empty()) shares.insert(sample.shares_ns);
    for (const GuardDevice& device : sample.devices) {
      if (device.rows_known) rows.insert(device.rows_ns / 1'000'000);
    }
    ::poll(nullptr, 0, 2);
  }
  constexpr std::size_t most = 6;  // 2 s at twice a second, and the edges
  const auto calm = [&](const std::set<std::int64_t>& times, const char* what, std::size_t allowed) {
    require(times.size() <= allowed,
            fmt::format("{} were read {} times in {} s; twice a second is enough", what, times.size(), secs));
  };
  const std::size_t devices = std::max<std::size_t>(rig.read({}, false).devices.size(), 1);
  calm(shares, "shares", most);
  calm(rows, "process rows", most * devices);
  return {
      fmt::format("{} readings, of them {} of shares and {} of rows", readings, shares.size(), rows.size()),
      {{"readings", readings}, {"slowest_s", rig.slowest_secs()}},
      {}};
}

// As many processes as the guard keeps, nearly all of which have ended.
Result check_many(const Target& target) {
  GuardRig rig(target);
  std::vector<GuardProcess> tree = {ourselves()};
  for (std::int32_t i = 1; tree.size() < guard::most_members; ++i) tree.push_back({4'200'000 + i, 1});
  for (int i = 0; i < 2; ++i) {
    const GuardSample sample = rig.read(tree, true);
    require(sample.shares.size() <= 1, "processes that do not exist have shares");
    ::poll(nullptr, 0, 300);
  }
  rig.read({}, true);
  return {fmt::format("{} processes, slowest reading {:.1f} ms", tree.size(), 1e3 * rig.slowest_secs()),
          {{"slowest_s", rig.slowest_secs()}},
          {}};
}

// Through the page, as a guard's helper runs it.
Result check_helper(const Target& target) {
  const GuardRig here(target);  // skips where nothing is observed
  const auto sensor =
      plugin::create<GuardSensor>(plugin::load(target.file), "guard", target.options.at("guard"));
  const auto page = std::make_unique<guard::Page>();
  page->period_us.store(5'000);
  guard::PageTree& tree = page->tree.begin();
  tree.want_shares = 1;
  tree.count = 1;
  tree.members[0] = ourselves();
  page->tree.end();
  const int wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int code = guard::run_sensor(*sensor, *page, wake, 5);
  ::close(wake);
  require(code == 0, "an object that is made later refuses its probe");
  GuardSample loaded;
  std::int32_t status = -1;
  require(page->sample.read([&](const guard::PageSample& from) {
    loaded = guard::load(from);
    status = from.status;
  }),
          "the page holds no reading");
  if (status == static_cast<std::int32_t>(StatusCode::ok)) require_sane(loaded, guard::monotonic_ns());
  return {fmt::format("5 readings through the page, problem '{}'", loaded.problem), {}, {}};
}

}  // namespace

std::vector<Case> guard_cases(const Target& target) {
  using Check = Result (*)(const Target&);
  std::vector<Case> cases;
  for (const auto& [name, check] : {std::pair<const char*, Check>{"probe", check_probe},
                                    {"readings", check_readings},
                                    {"shares", check_shares},
                                    {"identity", check_identity},
                                    {"restraint", check_restraint},
                                    {"many", check_many},
                                    {"helper", check_helper}}) {
    cases.push_back({std::string("guard/") + name, [&target, check = check] { return check(target); }});
  }
  return cases;
}

}  // namespace tetrad::check
