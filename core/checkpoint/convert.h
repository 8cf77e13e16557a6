// One model directory into another layout: `host convert`. The weights stream through in strips, so memory is
// bounded and the file size does not matter; checksums are taken from the bytes that are handed to the disk;
// then everything is read back and compared before the directory is moved into place. Contract: the target
// appears complete or not at all, and planes are carried over bit for bit (codes and block scales; the fp32
// scale too wherever the two layouts give it the same sense).
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/plan.h"

namespace tetrad::checkpoint {

inline constexpr const char* manifest_name = "tetrad-convert.json";

struct Conversion {
  std::filesystem::path from;                        // directory, .safetensors or .dat
  std::optional<std::filesystem::path> config_from;  // directory of config.json and the tokenizer
  std::filesystem::path to;
  Layout layout = Layout::dense;
  Encoding encoding;
  std::uint64_t max_shard_bytes = 5'000'000'000;
  std::string version;                     // of this program, for the manifest
  const std::atomic<int>* stop = nullptr;  // a signal number ends the conversion at the next piece
  // phase: "write" or "verify"
  std::function<void(const char* phase, std::uint64_t done, std::uint64_t total)> progress;
};

struct WrittenFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string sha256;
};

struct Converted {
  std::filesystem::path directory;
  Layout from = Layout::dense, layout = Layout::dense;
  std::size_t tensors = 0, quantised = 0;
  std::uint64_t read_bytes = 0, written_bytes = 0;
  std::vector<WrittenFile> files;  // the weight files
  std::vector<std::string> notes;  // for people: what is not carried over or not exact
};

// Throws Error: usage for what cannot be converted as asked, numerics for values that are not finite. When
// stopped: Interrupted.
Converted convert(const Conversion& conversion);

// Thrown when `stop` was set; the target was not made.
struct Interrupted {
  int signal = 0;
};

// What belongs to a model beside its weights and config.json (tokenizer, chat template, generation config,
// licence): copies what `from` has of it, flushed to the disk; returns the names.
std::vector<std::string> copy_companions(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace tetrad::checkpoint
