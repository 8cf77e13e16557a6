#include "cli/engine/export_check.h"

#include "cli/engine/transformers_check.h"
#include "text/utf8.h"

#include <ATen/Parallel.h>
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

double ExportCheck::kl_to(const at::Tensor& log_p) const {
  if (!reading_.log_p.defined() || !log_p.defined()) return 0.0;
  const at::Tensor p = reading_.log_p.to(at::kDouble), q = log_p.to(at::kDouble);
  return at::sum(p.exp().mul(p.sub(q))).item<double>() / static_cast<double>(p.size(0));
}

std::int64_t ExportCheck::compare_answers(const nlohmann::json& now, const std::string& path) {
  std::int64_t same = 0;
  for (std::size_t i = 0; i < now.size(); ++i) {
    const nlohmann::json &was = answers_.at(i), &is = now.at(i);
    same += was.at("answer") == is.at("answer") ? 1 : 0;
    if (was.at("right") == true && is.at("right") == false)
      drifted_.push_back(fmt::format(
          "'{}' is answered right by the trained model and wrong by the export on the {} path: {}",
          is.at("prompt").get<std::string>(), path, is.at("answer").get<std::string>()));
  }
  return same;
}

void ExportCheck::say(const nlohmann::json& row, double live) {
  std::string line =
      fmt::format("[export] {} path: perplexity {:.4f}, live {:.4f}, over {} tokens; KL {:.3g}",
                  row.at("path").get<std::string>(), row.at("perplexity").get<double>(), live,
                  row.at("tokens").get<std::int64_t>(), row.at("kl").get<double>());
  if (row.at("answers") != 0)
    line += fmt::format("; {} of {} answers are the same", row.at("answers_same").get<std::int64_t>(),
                        row.at("answers").get<std::int64_t>());
  std::fprintf(stderr, "%s\n", line.c_str());
}

nlohmann::json ExportCheck::compare(Session& session, const std::string& path) {
  const Reading reading = read(session);
  nlohmann::json result = {{"path", path},
                           {"perplexity", reading.perplexity()},
                           {"tokens", reading.tokens},
                           {"kl", kl_to(reading.log_p)},
                           {"answers_same", 0},
                           {"answers", 0},
                           {"self_test", nullptr}};
  SelfTest test(session);
  if (!test.empty() && answers_.is_array()) {
    const nlohmann::json now = test.run("export, " + path + " path");
    result["answers_same"] = compare_answers(now, path);
    result["answers"] = now.size();
    result["self_test"] = now;
  }
  say(result, reading_.perplexity());
  return result;
}

void ExportCheck::run_transformers(const std::filesystem::path& folder, bool readable,
                                   const std::optional<std::string>& python, nlohmann::json& result) {
  nlohmann::json row = {{"path", "transformers"}, {"checked", false}, {"reason", nullptr}};
  const auto left_out = [&](const std::string& why) {
    row["reason"] = why;
    std::fprintf(stderr, "[export] transformers: not checked: %s\n", why.c_str());
    result["paths"].push_back(row);
  };
  const std::optional<std::string> program = find_python(python);
  if (!program) return;
  if (!readable) return left_out("it does not know Tetrad's planes");
  // The guard counts the program as part of this run.
  std::int64_t weights = std::int64_t{3} << 29;  // libtorch, transformers and what they need to load
  for (const Parameter& p : live_.model().parameters())
    weights += 2 * p.numel() * static_cast<std::int64_t>(at::elementSize(live_.model().setup().dtype));
  if (const auto room = live_.host_room(); room && !room->holds(weights))
    return left_out("reading the folder once more " + room->shortage(weights));
  TransformersRequest request;
  request.folder = std::filesystem::absolute(folder);
  request.dtype = live_.config().at("model").at("dtype").get<std::string>();
  request.positions = kPositions;
  request.threads = at::get_num_threads();
  for (const Document& document : documents_) request.documents.push_back({document.ids, document.targets});
  const generate::GenerationOptions options = live_.generation_options();
  request.stop_ids = options.stop_ids;
  request.max_new_tokens = live_.config().at("train").at("self_test_tokens").get<std::int64_t>();
  const nlohmann::json asked = answers_.is_array() ? answers_ : nlohmann::json::array();
  for (const nlohmann::json& each : asked)
    request.prompts.push_back(live_.prompt_ids(each.at("prompt").get<std::string>(), /*raw=*/false));
  const TransformersReading reading = read_with_transformers(*program, request, live_.control().interrupt());
  if (!reading.missing.empty()) return left_out(reading.missing);
  if (reading.log_p.defined() && reading_.log_p.defined() &&
      !reading.log_p.sizes().equals(reading_.log_p.sizes()))
    return left_out(fmt::format("its distributions are {} x {}, those of the trained model {} x {}",
                                reading.log_p.size(0), reading.log_p.size(1), reading_.log_p.size(0),
                                reading_.log_p.size(1)));
  row["checked"] = true;
  row["version"] = reading.version;
  row["python"] = *program;
  row["tokens"] = reading.tokens;
  row["perplexity"] = std::exp(reading.nll / static_cast<double>(std::max<std::int64_t>(reading.tokens, 1)));
  row["kl"] = kl_to(reading.log_p);
  nlohmann::json now = nlohmann::json::array();
  for (std::size_t i = 0; i < reading.answers.size(); ++i) {
    nlohmann::json one = asked.at(i);
    one["answer"] = text::lossy_utf8(live_.tokenizer().decode(reading.answers[i], /*skip_special=*/true));
    if (one.at("expected").is_string())
      one["right"] = SelfTest::is_right(one["answer"].get<std::string>(), one["expected"].get<std::string>());
    now.push_back(std::move(one));
  }
  row["answers_same"] = compare_answers(now, "transformers");
  row["answers"] = now.size();
  row["self_test"] = now;
  say(row, reading_.perplexity());
  result["paths"].push_back(row);
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
