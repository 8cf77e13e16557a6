#include "guard_nvml.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <string_view>

namespace tetrad::guard_nvml {

namespace {

constexpr std::int64_t rows_every_ns = 500'000'000;
constexpr double sane_share_of_machine = 0.9;

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

// Field 22 of /proc/<pid>/stat; 0 where there is no such process here (another pid namespace).
std::uint64_t start_ticks(std::uint32_t pid) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%u/stat", pid);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char buffer[2048];
  const ssize_t got = ::read(fd, buffer, sizeof buffer);
  ::close(fd);
  if (got <= 0) return 0;
  std::string_view text(buffer, static_cast<std::size_t>(got));
  const std::size_t close = text.rfind(')');
  if (close == std::string_view::npos) return 0;
  text.remove_prefix(close + 1);
  for (int field = 3; field < 22; ++field) {  // each step to the space before the next field
    const std::size_t space = text.find(' ', 1);
    if (space == std::string_view::npos) return 0;
    text.remove_prefix(space);
  }
  text.remove_prefix(1);
  std::uint64_t ticks = 0;
  std::from_chars(text.data(), text.data() + text.size(), ticks);
  return ticks;
}

std::uint64_t machine_bytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long size = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size) : 0;
}

bool lost(int code) {
  return code == rc::gpu_is_lost || code == rc::reset_required;
}

}  // namespace

bool integrated_name(const std::string& name) {
  constexpr std::array<std::string_view, 6> known = {"GB10", "Thor", "Orin", "Xavier", "N1X", "Tegra"};
  return std::any_of(known.begin(), known.end(),
                     [&](std::string_view part) { return name.find(part) != std::string::npos; });
}

GuardNvml::GuardNvml(const Options& options) : name_(options.get<std::string>("library")) {}

Status GuardNvml::probe(std::string& evidence) noexcept {
  return guarded([&] {
    library_ = std::make_unique<Library>(name_);
    if (!library_->problem().empty()) throw StatusError(StatusCode::unsupported, library_->problem());
    unsigned count = 0;
    if (const int code = library_->count(count); code != rc::success)
      throw StatusError(StatusCode::unsupported, "nvmlDeviceGetCount: " + library_->error_text(code));
    if (count == 0) throw StatusError(StatusCode::unsupported, "the driver knows no GPU");
    evidence = "driver " + library_->driver_version();
    for (unsigned i = 0; i < count; ++i) {
      Card card;
      if (const int code = library_->device(i, card.handle); code != rc::success) {
        card.problem = "GPU " + std::to_string(i) + ": " + library_->error_text(code);
        card.memory_works = card.rows_work = false;
      } else {
        card.state.uuid = library_->uuid(card.handle);
        card.state.name = library_->name(card.handle);
        GuardSample scratch;
        read_memory(card, scratch);
        read_rows(card, scratch);
        judge_unified(card);
      }
      evidence += "; " + (card.state.name.empty() ? "GPU " + std::to_string(i) : card.state.name) + ": " +
                  (card.state.unified       ? "unified memory, process rows"
                   : card.state.total_bytes ? "memory and process rows"
                   : card.state.rows_known  ? "process rows"
                                            : "blind");
      if (!card.problem.empty()) evidence += " (" + card.problem + ")";
      cards_.push_back(std::move(card));
    }
  });
}

void GuardNvml::read_memory(Card& card, GuardSample& sample) {
  if (!card.memory_works) return;
  std::uint64_t total = 0;
  std::uint64_t free = 0;
  const int code = library_->memory(card.handle, total, free);
  card.state.total_bytes.reset();
  card.state.used_bytes.reset();
  if (code == rc::success && total > 0 && free <= total) {
    // One integrated GPU was seen to answer with a total that is not its own.
    const bool bogus =
        integrated_name(card.state.name) &&
        static_cast<double>(total) < sane_share_of_machine * static_cast<double>(machine_bytes());
    if (bogus) {
      card.memory_works = false;
      return;
    }
    card.state.total_bytes = total;
    card.state.used_bytes = total - free;
    return;
  }
  if (code == rc::success) {
    card.problem = "the driver's memory figures make no sense";
  } else if (code == rc::not_supported || code == rc::function_not_found) {
    card.memory_works = false;
  } else {
    card.problem = "memory: " + library_->error_text(code);
    sample.device_lost = sample.device_lost || lost(code);
  }
}

void GuardNvml::read_rows(Card& card, GuardSample& sample) {
  if (!card.rows_work) return;
  const Rows rows = library_->processes(card.handle, card.state.total_bytes);
  card.state.rows.clear();
  card.state.rows_known = rows.code == rc::success;
  card.state.rows_dropped = rows.dropped;
  card.state.rows_ns = now_ns();
  card.state.used_at_rows_bytes = card.state.used_bytes;
  if (rows.code == rc::not_supported || rows.code == rc::function_not_found) card.rows_work = false;
  if (rows.code != rc::success) {
    card.problem = "processes: " + library_->error_text(rows.code);
    sample.device_lost = sample.device_lost || lost(rows.code);
    return;
  }
  for (const Row& row : rows.rows)
    card.state.rows.push_back({{static_cast<std::int32_t>(row.pid), start_ticks(row.pid)}, row.bytes});
}

void GuardNvml::judge_unified(Card& card) const {
  if (card.memory_works || !card.state.rows_known) {
    if (!card.memory_works && card.problem.empty()) card.problem = "it tells neither memory nor processes";
    return;
  }
  card.state.unified =
      integrated_name(card.state.name) || library_->shares_address_translation(card.handle).value_or(false);
}

Status GuardNvml::sample(const GuardRequest&, GuardSample& sample) noexcept {
  return guarded([&] {
    const bool rows_due = now_ns() - rows_ns_ >= rows_every_ns;
    if (rows_due) rows_ns_ = now_ns();
    for (Card& card : cards_) {
      if (card.memory_works || card.rows_work) card.problem.clear();
      read_memory(card, sample);
      if (rows_due) read_rows(card, sample);
      if (card.state.rows_dropped > 0 && card.problem.empty())
        card.problem =
            std::to_string(card.state.rows_dropped) + " process rows make no sense and are left out";
      if (!card.problem.empty()) {
        if (!sample.problem.empty()) sample.problem += "; ";
        sample.problem += (card.state.name.empty() ? "GPU" : card.state.name) + ": " + card.problem;
      }
      sample.devices.push_back(card.state);
    }
    if (sample.device_lost) sample.problem = "device lost: " + sample.problem;
  });
}

}  // namespace tetrad::guard_nvml
