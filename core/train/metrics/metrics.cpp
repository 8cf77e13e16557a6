#include "train/metrics/metrics.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "io/atomic_file.h"
#include "sdk/base/printable.h"
#include "train/metrics/event_file.h"
#include "train/metrics/line_file.h"

namespace tetrad::train {
namespace fs = std::filesystem;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Leaves the lines of steps before `first_step`. A last line without its end is what a crash of the machine
// left of one, and is dropped.
void drop_later_lines(const fs::path& file, std::int64_t first_step) {
  std::error_code failed;
  if (!fs::exists(file, failed)) return;
  if (first_step == 0) {
    io::write_file(file, std::string_view());
    return;
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(fmt::format("[metrics] {}: cannot be read", printable(file.string())));
  io::AtomicFile kept(file);
  std::uint64_t bytes = 0;
  std::int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (in.eof()) break;
    const auto value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const auto step = value.is_object() ? value.find("step") : value.end();
    if (!value.is_object() || step == value.end() || !step->is_number_integer()) {
      throw Error(
          fmt::format("[metrics] {}: line {} is not a step's line; move the file away, or give the run "
                      "another folder",
                      printable(file.string()), number));
    }
    if (*step >= first_step) continue;
    line += '\n';
    kept.write_at(bytes, std::as_bytes(std::span(line)));
    bytes += line.size();
  }
  kept.commit();
}

}  // namespace

struct MetricsLog::Files {
  std::optional<AppendFile> lines;
  std::optional<EventFile> events;
};

MetricsLog::MetricsLog(const MetricsSettings& settings) : files_(std::make_unique<Files>()) {
  std::error_code failed;
  fs::create_directories(settings.folder, failed);
  if (failed) {
    throw Error(fmt::format("[metrics] {}: cannot be made: {}", printable(settings.folder.string()),
                            failed.message()));
  }
  if (settings.jsonl) {
    const fs::path file = settings.folder / "metrics.jsonl";
    drop_later_lines(file, settings.first_step);
    files_->lines.emplace(file, AppendFile::Existing::append);
  }
  if (settings.tensorboard) files_->events.emplace(settings.folder, now(), settings.first_step);
}

MetricsLog::~MetricsLog() = default;
MetricsLog::MetricsLog(MetricsLog&&) noexcept = default;
MetricsLog& MetricsLog::operator=(MetricsLog&&) noexcept = default;

void MetricsLog::write(std::int64_t step, const Scalars& scalars) {
  const double time = now();
  if (files_->lines) {
    nlohmann::ordered_json line = {{"step", step}, {"time", time}};
    for (const auto& [name, value] : scalars) {
      if (std::isfinite(value))
        line[name] = value;
      else
        line[name] = nullptr;
    }
    files_->lines->write(line.dump() + "\n");
  }
  if (files_->events) files_->events->write(time, step, scalars);
}

void MetricsLog::write_text(std::int64_t step, std::string_view tag, std::string_view text) {
  const double time = now();
  if (files_->lines) {
    const nlohmann::ordered_json line = {
        {"step", step}, {"time", time}, {"text", {{std::string(tag), std::string(text)}}}};
    files_->lines->write(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  if (files_->events) files_->events->write_text(time, step, tag, text);
}

void MetricsLog::flush() {
  if (files_->lines) files_->lines->flush();
  if (files_->events) files_->events->flush();
}

}  // namespace tetrad::train
