// An exported model against the one that was trained: loaded from the folder that was just written, on both
// paths, it answers the self test again and is compared by perplexity and KL over some documents. What was
// exported is shown to be what was trained, instead of being assumed to be.
#pragma once

#include "cli/engine/self_test.h"
#include "cli/engine/session.h"
#include "train/data/batch.h"

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::cli {

class ExportCheck {
 public:
  // Reads the live model over the documents of `batches` (some thousand tokens of them at most). `answers`:
  // its self test, as SelfTest::run() gave it, or null.
  ExportCheck(Session& live, const std::vector<train::Batch>& batches, nlohmann::json answers);

  // Loads `folder` on the training and the bridge path, with `linear` (kind "linear"; options at `options`),
  // and shows on stderr how they compare. Returns {"live_perplexity", "tokens", "paths": [{"path",
  // "perplexity", "kl", "answers_same", "answers", "self_test"}]}.
  nlohmann::json run(const std::filesystem::path& folder, const PluginRef& linear,
                     const nlohmann::json& options);
  // The same for transformers: adds {"path": "transformers", "checked", "reason" or figures} to run()'s
  // paths, and nothing where `python` is "none". `readable`: whether other programs know the format.
  // `python`: train.export_python.
  void run_transformers(const std::filesystem::path& folder, bool readable,
                        const std::optional<std::string>& python, nlohmann::json& result);
  // Self-test answers that the live model had right and the folder has wrong, one line each.
  const std::vector<std::string>& drifted() const noexcept { return drifted_; }

 private:
  struct Document {
    std::vector<std::int32_t> ids;
    std::vector<std::int64_t> targets;  // of each; Batch::not_scored where there is none
  };
  struct Reading {
    double nll = 0.0;
    std::int64_t tokens = 0;
    at::Tensor log_p;  // fp32 [positions, vocabulary], on the CPU, of the first scored ones
    double perplexity() const;
  };
  void take(const train::Batch& batch);
  Reading read(Session& session) const;
  nlohmann::json compare(Session& session, const std::string& path);
  double kl_to(const at::Tensor& log_p) const;
  // Counts answers that are as the live model's, and notes the wrong ones; the number of the same ones.
  std::int64_t compare_answers(const nlohmann::json& now, const std::string& path);
  static void say(const nlohmann::json& row, double live);

  Session& live_;
  std::vector<Document> documents_;
  std::int64_t tokens_ = 0;
  nlohmann::json answers_;
  Reading reading_;
  std::vector<std::string> drifted_;
};

}  // namespace tetrad::cli
