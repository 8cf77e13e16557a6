// What a person and a program see of a training step: the log line, the numbers for the metrics files, and a
// bar that is drawn on a terminal while a step runs.
#pragma once

#include "train/metrics/metrics.h"
#include "train/trainer/trainer.h"

#include <cstdint>
#include <cstdio>
#include <string>

namespace tetrad::cli {

struct StepFigures {
  train::StepReport report;
  std::int64_t steps = 0;              // of the whole run
  double peak_flops_per_second = 0.0;  // of the machine; 0: unknown
  std::int64_t memory_bytes = 0;       // peak of live device bytes, or the process's host bytes
  double seconds_left = 0.0;           // of the steps to come

  double tokens_per_second() const noexcept;
  // Operations of the step a second, over the machine's peak; 0 where that is unknown.
  double roofline_share() const noexcept;
};

// "[train] step 3/8 loss 2.1 ... left 0:05", without a newline.
std::string step_line(const StepFigures& figures);
// The same numbers: {"train/loss", ...}.
train::Scalars step_scalars(const StepFigures& figures);

// "[train] [#####.....] step 3/8 backward": `done` finished steps; at most 80 columns.
std::string progress_text(std::int64_t done, std::int64_t steps, const std::string& what);

// One line at the bottom of a terminal, redrawn in place; nothing anywhere else. Whoever writes to stderr
// clears it before.
class ProgressBar {
 public:
  explicit ProgressBar(bool shown) : shown_(shown) {}
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(std::int64_t done, std::int64_t steps, const std::string& what);
  void clear();

 private:
  bool shown_, drawn_ = false;
};

}  // namespace tetrad::cli
