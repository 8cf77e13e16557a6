#include "guard/sensor_loop.h"

#include "guard/tree.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace tetrad::guard {

Page& map_page(int fd) {
  struct stat info {};
  const bool right_size = ::fstat(fd, &info) == 0 && info.st_size == static_cast<off_t>(sizeof(Page));
  void* at =
      right_size ? ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  if (at == MAP_FAILED || static_cast<Page*>(at)->magic != page_magic) {
    throw Error(ExitCode::usage,
                fmt::format("[guard] descriptor {} is not a guard's page: '{}' is started by host alone", fd,
                            "guard-sensor"));
  }
  return *static_cast<Page*>(at);
}

int run_sensor(GuardSensor& sensor, Page& page, int wake_fd, std::optional<int> most) {
  std::string evidence;
  page.call_since_ns.store(monotonic_ns());
  const Status probe = sensor.probe(evidence);
  put_text(page.evidence, probe.ok() ? evidence : probe.message);
  page.probed.store(probe.ok() ? 1 : 2, std::memory_order_release);
  page.call_since_ns.store(0);
  if (!probe.ok()) return 1;

  std::vector<GuardProcess> tree;
  tree.reserve(most_members);
  for (int readings = 0; !most || readings < *most; ++readings) {
    bool want_shares = false;
    page.tree.read([&](const PageTree& from) {
      want_shares = from.want_shares != 0;
      tree.assign(from.members.begin(),
                  from.members.begin() +
                      static_cast<std::ptrdiff_t>(std::min<std::size_t>(from.count, most_members)));
    });
    const std::int64_t begin = monotonic_ns();
    page.call_since_ns.store(begin);
    GuardSample sample;
    const Status status = sensor.sample({tree, want_shares}, sample);
    const std::int64_t end = monotonic_ns();
    store(sample, status, begin, end, page.sample.begin());
    page.sample.end();
    page.call_since_ns.store(0);

    const std::int64_t next = begin + std::int64_t{page.period_us.load()} * 1000;
    const std::int64_t wait_ms = std::max<std::int64_t>((next - monotonic_ns()) / 1'000'000, 1);
    pollfd wake{wake_fd, POLLIN, 0};
    if (::poll(&wake, 1, static_cast<int>(wait_ms)) == 1) {
      std::uint64_t count = 0;
      const ssize_t got = ::read(wake_fd, &count, sizeof count);
      static_cast<void>(got);
    }
  }
  return 0;
}

}  // namespace tetrad::guard
