// A TensorBoard event file: records of a length, its CRC-32C, a protocol buffer `Event` and its CRC-32C
// (TensorFlow's record format and event.proto, summary.proto; the fields used are numbered in
// event_file.cpp). Contract: TensorBoard, and every reader of TFRecord files, reads what is there after any
// kill.
#pragma once

#include "train/metrics/line_file.h"
#include "train/metrics/metrics.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace tetrad::train {

class EventFile {
 public:
  // A new file events.out.tfevents.<seconds>.<n> in `folder`. TensorBoard is told to drop what older
  // files there have of first_step and later.
  EventFile(const std::filesystem::path& folder, double seconds, std::int64_t first_step);

  void write(double seconds, std::int64_t step, const Scalars& scalars);
  void write_text(double seconds, std::int64_t step, std::string_view tag, std::string_view text);
  void flush() { file_.flush(); }

  const std::filesystem::path& path() const noexcept { return file_.path(); }

 private:
  void record(const std::string& event);

  AppendFile file_;
};

// `data` with length and checksums around it.
std::string tf_record(std::string_view data);

}  // namespace tetrad::train
