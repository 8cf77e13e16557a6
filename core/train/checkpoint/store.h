// The folder of a run's checkpoints: saves, finds the last good one, and removes old ones. Contract: at every
// moment, also when the process is killed, the machine loses power or the disk fills up, `latest` names a
// checkpoint that was verified after it was written, or there is none yet. A save writes step-N.tmp/
// (tensors, state, manifest last; every file flushed), renames it, flushes the folder, reads it back and
// compares checksums, and only then moves `latest`. One writer at a time (the folder is locked).
#pragma once

#include "train/checkpoint/checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::train {

// Takes a tensor's next bytes; may be called any number of times until the tensor is whole.
using ByteSink = std::function<void(std::span<const std::byte>)>;

// A tensor to be saved. `write` is called once, when its turn comes, so that a tensor on a GPU is copied
// piece by piece and only one is in host memory at a time.
struct SavedTensor {
  std::string group;  // the file it goes to: "weights", "optimizer"; lower-case letters, digits and '-'
  io::TensorSpec spec;
  std::function<void(const ByteSink&)> write;
};

struct CheckpointContent {
  std::int64_t step = 0;  // >= 0
  Identity identity;
  nlohmann::json state;  // an object
  std::vector<SavedTensor> tensors;
};

struct StoreSettings {
  std::filesystem::path folder;
  int keep_last = 2;  // checkpoints that stay, the latest included; >= 1
  // Called before every step that changes the disk, with its name ("write weights.safetensors", "rename",
  // "move latest", ...). Tests interrupt a save here.
  std::function<void(std::string_view)> at_boundary = {};
};

class CheckpointStore {
 public:
  // Makes the folder when it is missing, locks it, and removes what an interrupted save left. Throws Error
  // when another process has it open.
  explicit CheckpointStore(StoreSettings settings);
  ~CheckpointStore();
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  // Saves and returns the checkpoint's folder. Throws Error naming the last good checkpoint; that one, and
  // everything else in the folder, is then as it was. A checkpoint of the same step is replaced.
  std::filesystem::path save(const CheckpointContent& content);

  // Where `latest` points to; nothing when the folder has no checkpoint.
  std::optional<std::filesystem::path> latest() const { return latest_checkpoint(settings_.folder); }

  // The same without locking, for readers. Throws Error when `latest` names something that is not there.
  static std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& folder);
  // Folders step-N in `folder`, by step.
  static std::vector<std::filesystem::path> checkpoints(const std::filesystem::path& folder);
  // What a user may give for a checkpoint: its own folder, or the folder of a run's checkpoints, whose latest
  // is taken. Throws Error(usage) when it is neither.
  static std::filesystem::path find(const std::filesystem::path& given);

 private:
  void boundary(std::string_view what) const;
  void remove_leftovers() const;
  void remove_old(const std::filesystem::path& newest) const;

  StoreSettings settings_;
  int lock_ = -1;
};

}  // namespace tetrad::train
