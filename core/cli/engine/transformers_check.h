// An exported folder as Hugging Face transformers reads it: a Python program, on the CPU and in a process of
// its own, gives back losses, distributions and greedy answers for ids that Tetrad chose. Where there is no
// Python with transformers, or it cannot read the folder, the answer says so; nothing here ends a run.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::cli {

struct TransformersRequest {
  std::filesystem::path folder;
  std::string dtype;  // "bfloat16", "float16" or "float32"
  struct Document {
    std::vector<std::int32_t> ids;
    std::vector<std::int64_t> targets;  // of each position; negative: not scored
  };
  std::vector<Document> documents;
  std::int64_t positions = 0;                      // scored ones whose distributions are given back
  std::vector<std::vector<std::int32_t>> prompts;  // answered greedily
  std::vector<std::int32_t> stop_ids;
  std::int64_t max_new_tokens = 0;
  int threads = 1;
  double timeout_seconds = 900;
};

struct TransformersReading {
  std::string missing;  // why there is no reading; empty when there is one
  std::string version;  // of transformers
  double nll = 0.0;     // sum over the scored positions
  std::int64_t tokens = 0;
  at::Tensor log_p;  // fp32 [positions, vocabulary]
  std::vector<std::vector<std::int32_t>> answers;
};

// The Python to ask: `configured`, or that of $VIRTUAL_ENV, or .venv here, or python3 of the PATH. Nothing
// for "none".
std::optional<std::string> find_python(const std::optional<std::string>& configured);

// `interrupt` ends it early; it is then missing.
TransformersReading read_with_transformers(const std::string& python, const TransformersRequest& request,
                                           const std::atomic<bool>& interrupt);

}  // namespace tetrad::cli
