// The numbers of each step as files that other programs read: one JSON object a line (metrics.jsonl) and a
// TensorBoard event file. Contract: a step's line is handed to the system whole, so that a killed run leaves
// whole lines; a run that resumes after step N first drops the lines of later steps, and its event file tells
// TensorBoard to do the same, so that curves have one value for each step.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tetrad::train {

using Scalars = std::vector<std::pair<std::string, double>>;  // {"train/loss", 2.31}, ...

struct MetricsSettings {
  std::filesystem::path folder;  // metrics.jsonl and events.out.tfevents.* lie here; made when missing
  bool jsonl = true;
  bool tensorboard = true;
  std::int64_t first_step = 0;  // lines and events of this step and later ones are dropped; 0 for a new run
};

class MetricsLog {
 public:
  // Throws Error for a folder or file that cannot be written, and for a metrics.jsonl that is none.
  explicit MetricsLog(const MetricsSettings& settings);
  ~MetricsLog();
  MetricsLog(MetricsLog&&) noexcept;
  MetricsLog& operator=(MetricsLog&&) noexcept;

  // One step's values. A line of metrics.jsonl is {"step": N, "time": seconds since 1970, "train/loss": ...};
  // a value that is not finite is null there and itself in the event file. Throws Error when writing fails.
  void write(std::int64_t step, const Scalars& scalars);
  // A text, shown in TensorBoard's text page and as {"step", "time", "text": {tag: text}} in the JSON lines.
  void write_text(std::int64_t step, std::string_view tag, std::string_view text);

  // Everything handed over so far is on the disk when this returns.
  void flush();

 private:
  struct Files;
  std::unique_ptr<Files> files_;
};

}  // namespace tetrad::train
