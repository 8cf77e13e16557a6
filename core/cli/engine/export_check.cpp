#include "cli/engine/export_check.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/sum.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace tetrad::cli {
namespace {

constexpr std::int64_t kTokens = 4096;   // read at most
constexpr std::int64_t kPositions = 64;  // whose whole distributions are kept for KL

}  // namespace

double ExportCheck::Reading::perplexity() const {
  return std::exp(nll / static_cast<double>(std::max<std::int64_t>(tokens, 1)));
}

ExportCheck::ExportCheck(Session& live, const std::vector<train::Batch>& batches, nlohmann::json answers)
    : live_(live), answers_(std::move(answers)) {
  for (const train::Batch& batch : batches) take(batch);
  reading_ = read(live_);
}

void ExportCheck::take(const train::Batch& batch) {
  std::int64_t document = train::Batch::padding;
  for (std::int64_t at = 0; at < batch.rows * batch.width; ++at) {
    const auto i = static_cast<std::size_t>(at);
    const bool begins = batch.documents[i] != document || at % batch.width == 0;
    document = batch.documents[i];
    if (document == train::Batch::padding) continue;
    if (begins && tokens_ >= kTokens) return;
    if (begins) documents_.emplace_back();
    documents_.back().ids.push_back(static_cast<std::int32_t>(batch.ids[i]));
    documents_.back().targets.push_back(batch.targets[i]);
    ++tokens_;
  }
}

ExportCheck::Reading ExportCheck::read(Session& session) const {
  const at::NoGradGuard no_grad;
  Reading reading;
  std::vector<at::Tensor> kept;
  for (const Document& document : documents_) {
    session.context().reset();
    session.context().feed_all(document.ids, [&](std::int64_t first, const at::Tensor& logits) {
      const at::Tensor log_p = at::log_softmax(logits.to(at::kFloat), -1).cpu();
      for (std::int64_t row = 0; row < log_p.size(0); ++row) {
        const std::int64_t target = document.targets[static_cast<std::size_t>(first + row)];
        if (target == train::Batch::not_scored) continue;
        reading.nll -= static_cast<double>(log_p[row][target].item<float>());
        ++reading.tokens;
        if (static_cast<std::int64_t>(kept.size()) < kPositions)
          kept.push_back(log_p.narrow(0, row, 1).clone());
      }
    });
  }
  session.context().reset();
  session.clear_eval_cache();
  if (!kept.empty()) reading.log_p = at::cat(kept);
  return reading;
}

nlohmann::json ExportCheck::compare(Session& session, const std::string& path) {
  const Reading reading = read(session);
  double kl = 0.0;
  if (reading_.log_p.defined()) {
    const at::Tensor p = reading_.log_p.to(at::kDouble), q = reading.log_p.to(at::kDouble);
    kl = at::sum(p.exp().mul(p.sub(q))).item<double>() / static_cast<double>(p.size(0));
  }
  nlohmann::json result = {{"path", path}, {"perplexity", reading.perplexity()},
                           {"kl", kl},     {"answers_same", 0},
                           {"answers", 0}, {"self_test", nullptr}};
  SelfTest test(session);
  std::int64_t same = 0;
  if (!test.empty() && answers_.is_array()) {
    const nlohmann::json now = test.run("export, " + path + " path");
    for (std::size_t i = 0; i < now.size(); ++i) {
      const nlohmann::json &was = answers_.at(i), &is = now.at(i);
      same += was.at("answer") == is.at("answer") ? 1 : 0;
      if (was.at("right") == true && is.at("right") == false)
        drifted_.push_back(
            fmt::format("'{}' is answered right by the trained model and wrong by the export "
                        "on the {} path: {}",
                        is.at("prompt").get<std::string>(), path, is.at("answer").get<std::string>()));
    }
    result["self_test"] = now;
    result["answers"] = now.size();
    result["answers_same"] = same;
  }
  std::fprintf(stderr, "[export] %s path: perplexity %.4f, live %.4f, over %lld tokens; KL %.3g",
               path.c_str(), reading.perplexity(), reading_.perplexity(),
               static_cast<long long>(reading.tokens), kl);
  if (result.at("answers") != 0)
    std::fprintf(stderr, "; %lld of %zu answers are the same", static_cast<long long>(same),
                 result.at("self_test").size());
  std::fprintf(stderr, "\n");
  return result;
}

nlohmann::json ExportCheck::run(const std::filesystem::path& folder, const PluginRef& linear,
                                const nlohmann::json& options) {
  nlohmann::json result = {{"live_perplexity", reading_.perplexity()},
                           {"tokens", reading_.tokens},
                           {"paths", nlohmann::json::array()}};
  for (const char* path : {"training", "bridge"}) {
    RunMessage run = live_.run();
    run.run_dir.reset();
    run.config["path"] = path;
    run.config["model"]["path"] = folder.string();
    run.config["model"]["weights"] = nullptr;
    run.config["linear"] = {{"plugin", linear.id}, {"options", options}};
    for (PluginRef& ref : run.plugins) {
      if (ref.kind != "linear") continue;
      ref = linear;
      ref.kind = "linear";
    }
    Session session(live_.control(), live_.memory(), run);
    result["paths"].push_back(compare(session, path));
  }
  return result;
}

}  // namespace tetrad::cli
