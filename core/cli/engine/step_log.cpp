#include "cli/engine/step_log.h"

#include "train/trainer/bytes_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace tetrad::cli {
namespace {

// "1:02:03", "2:03": of the steps still to come, as long as those so far; evaluations and saves come on top.
std::string time_left(double seconds) {
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
                   : fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace

double StepFigures::tokens_per_second() const noexcept {
  return static_cast<double>(report.tokens) / std::max(report.seconds, 1e-9);
}

double StepFigures::roofline_share() const noexcept {
  return peak_flops_per_second > 0.0 ? report.flops / std::max(report.seconds, 1e-9) / peak_flops_per_second
                                     : 0.0;
}

std::string step_line(const StepFigures& f) {
  const train::StepReport& r = f.report;
  std::string line = fmt::format("[train] step {}/{} loss {:.4f} lr {:.3g} norm {:.4g}{}", r.step, f.steps,
                                 r.loss, r.lr, r.norm, r.clip_factor < 1.0 ? " (clipped)" : "");
  if (r.update_rms)
    line += fmt::format(" rms {:.3g} ({} of {} clipped)", r.update_rms->largest, r.update_rms->clipped,
                        r.update_rms->parameters);
  line += fmt::format(" tok/s {:.0f}", f.tokens_per_second());
  if (f.peak_flops_per_second > 0.0) line += fmt::format(" roof {:.0f} %", 100.0 * f.roofline_share());
  return line + fmt::format(" mem {} left {}", train::bytes_text(f.memory_bytes), time_left(f.seconds_left));
}

train::Scalars step_scalars(const StepFigures& f) {
  const train::StepReport& r = f.report;
  train::Scalars scalars = {{"train/loss", r.loss},
                            {"train/lr", r.lr},
                            {"train/grad_norm", r.norm},
                            {"train/clip_factor", r.clip_factor},
                            {"train/tokens_per_second", f.tokens_per_second()},
                            {"train/seconds", r.seconds},
                            {"train/forward_seconds", r.forward_seconds},
                            {"train/backward_seconds", r.backward_seconds},
                            {"train/optimizer_seconds", r.optimizer_seconds},
                            {"train/memory_bytes", static_cast<double>(f.memory_bytes)},
                            {"train/skipped", r.skipped ? 1.0 : 0.0}};
  if (f.peak_flops_per_second > 0.0) scalars.emplace_back("train/roofline_share", f.roofline_share());
  if (r.update_rms) {
    scalars.emplace_back("train/update_rms_largest", r.update_rms->largest);
    scalars.emplace_back("train/clipped_parameters", static_cast<double>(r.update_rms->clipped));
  }
  return scalars;
}

std::string progress_text(std::int64_t done, std::int64_t steps, const std::string& what) {
  constexpr std::int64_t width = 30;
  const std::int64_t filled = steps > 0 ? std::clamp<std::int64_t>(done * width / steps, 0, width) : 0;
  return fmt::format("[train] [{:#<{}}{:.<{}}] step {}/{} {}", "", filled, "", width - filled,
                     std::min(done + 1, steps), steps, what)
      .substr(0, 79);
}

void ProgressBar::show(std::int64_t done, std::int64_t steps, const std::string& what) {
  if (!shown_) return;
  std::fprintf(stderr, "\r%s\x1b[K", progress_text(done, steps, what).c_str());
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressBar::clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
}

}  // namespace tetrad::cli
