// A guard sensor for `plugins check` to find fault with: what guard-host reads and a device that is made up,
// with one deliberate defect, named by the option `fault`.
#include <tetrad/base/guard_sensor.h>
#include <tetrad/base/plugin.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "guard_host.h"

namespace {

using tetrad::GuardDevice;
using tetrad::GuardRequest;
using tetrad::GuardSample;
using tetrad::GuardShare;
using tetrad::Status;
using tetrad::StatusCode;

constexpr std::uint64_t gib = std::uint64_t{1} << 30;

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

class CheckGuard final : public tetrad::GuardSensor {
 public:
  explicit CheckGuard(const tetrad::Options& options) : fault_(options.get<std::string>("fault")) {}

  Status probe(std::string& evidence) noexcept override {
    if (is("nothing_here")) return Status::unsupported("no such device");
    if (is("refuses_silently")) return {StatusCode::unsupported, ""};
    const Status status = host_.probe(evidence);
    if (is("says_nothing")) evidence.clear();
    return status;
  }

  Status sample(const GuardRequest& request, GuardSample& sample) noexcept override {
    ++readings_;
    if (is("hangs") && readings_ > 2) ::pause();
    if (is("slow") && readings_ == 3) ::usleep(2'300'000);
    if (is("crashes") && readings_ > 2) *static_cast<volatile int*>(nullptr) = 1;
    if (is("fails_silently") && readings_ == 3) return {StatusCode::device_error, ""};
    GuardRequest asked = request;
    if (is("reads_at_every_call")) host_ = tetrad::guard_host::GuardHost();
    const Status status = host_.sample(asked, sample);
    sample.devices.push_back(device());
    spoil(request, sample);
    return status;
  }

 private:
  bool is(const char* fault) const { return fault_ == fault; }

  GuardDevice device() {
    const std::int64_t now = now_ns();
    if (is("reads_at_every_call") || now - rows_ns_ > 500'000'000) rows_ns_ = now;
    GuardDevice device;
    device.uuid = "GPU-1";
    device.name = "made up";
    device.total_bytes = 8 * gib;
    device.used_bytes = device.used_at_rows_bytes = 2 * gib;
    device.rows_known = true;
    device.rows_ns = rows_ns_;
    device.rows.push_back({{1, 0}, gib});
    return device;
  }

  void spoil(const GuardRequest& request, GuardSample& sample) {
    GuardDevice& device = sample.devices.front();
    if (is("zero_for_unknown")) device.total_bytes = 0;
    if (is("zero_row")) device.rows[0].bytes = 0;
    if (is("not_available")) device.rows[0].bytes = ~std::uint64_t{0};
    if (is("more_than_there_is")) device.used_bytes = 9 * gib;
    if (is("pid_0")) device.rows[0].process.pid = 0;
    if (is("future")) device.rows_ns = now_ns() + 3'000'000'000;
    if (is("old_rows")) device.rows_ns = 1;
    if (is("rows_and_unknown")) device.rows_known = false;
    if (is("another_device") && readings_ > 20) device.uuid = "GPU-2";
    if (is("two_of_a_name")) sample.devices.push_back(device);
    if (is("lines")) sample.problem = "one\ntwo";
    if (is("pressure")) sample.pressure_full_avg10 = 250;
    for (GuardShare& share : sample.shares) {
      if (is("zero_share")) share.proportional_bytes = 0;
      if (is("half_the_share")) share.proportional_bytes /= 2;
      if (is("counts_shared_pages_twice") && sample.shares.size() == 3) share.proportional_bytes *= 2;
    }
    if (is("others_too") && !sample.shares.empty()) sample.shares.push_back({{1, 1}, gib});
    if (is("trusts_numbers") && !sample.shares.empty()) {
      for (const tetrad::GuardProcess& process : request.tree) {
        bool there = false;
        for (const GuardShare& share : sample.shares) there = there || share.process.pid == process.pid;
        if (!there && process.pid < 4'200'000) sample.shares.push_back({process, gib});
      }
    }
  }

  std::string fault_;
  tetrad::guard_host::GuardHost host_;
  std::int64_t rows_ns_ = 0;
  int readings_ = 0;
};

}  // namespace

TETRAD_PLUGIN(tetrad::Provides<"guard", tetrad::GuardSensor, CheckGuard>);
