// `eval`: perplexity of a text. The text is tokenised whole and cut into windows of `eval.window` tokens that
// start every `eval.stride` tokens (default: the window, no overlap); each window is fed from an empty
// context, and only tokens that no earlier window scored are counted. PPL = exp(mean negative log likelihood,
// nats).
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/input_file.h"
#include "cli/engine/session.h"

#include <ATen/ops/log_softmax.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace tetrad::cli {
namespace {

struct Score {
  double nll = 0.0;
  double nll_squared = 0.0;
  std::int64_t tokens = 0;
};

std::string read_text(const std::string& path) {
  std::string text = read_input_file(path, "eval", "the text file", max_text_bytes);
  if (text.empty()) throw Error(ExitCode::usage, "[eval] the text file '" + path + "' is empty");
  return text;
}

// Scores targets at positions [scored_to, end) of `ids` from a context that begins at `begin`.
void score_window(Session& session, const std::vector<std::int32_t>& ids, std::int64_t begin,
                  std::int64_t end, std::int64_t scored_to, Score& score) {
  session.context().reset();
  const std::span<const std::int32_t> window(ids.data() + begin, static_cast<std::size_t>(end - begin));
  session.context().feed_all(window, [&](std::int64_t first, const at::Tensor& logits) {
    // Row i predicts position begin + first + i + 1.
    const at::Tensor log_p = at::log_softmax(logits.cpu(), -1);
    const auto rows = log_p.accessor<float, 2>();
    for (std::int64_t i = 0; i < log_p.size(0); ++i) {
      const std::int64_t target = begin + first + i + 1;
      if (target >= end || target < std::max(scored_to, begin + 1)) continue;
      const double nll = -static_cast<double>(rows[i][ids[static_cast<std::size_t>(target)]]);
      score.nll += nll;
      score.nll_squared += nll * nll;
      ++score.tokens;
    }
  });
}

}  // namespace

int run_eval(Control& control) {
  MemoryWatch memory;
  Session session(control, memory);
  const nlohmann::json& options = session.config().at("eval");
  const auto path = session.run().args.contains("text") ? session.run().args.at("text").get<std::string>()
                                                        : options.at("text").get<std::string>();
  std::vector<std::int32_t> ids = session.prompt_ids(read_text(path), /*raw=*/true);
  if (options.at("limit").is_number()) {
    ids.resize(std::min<std::size_t>(ids.size(), options.at("limit").get<std::size_t>()));
  }
  if (ids.size() < 2)
    throw Error(ExitCode::usage, "[eval] '" + path + "' has fewer than two tokens: nothing to predict");

  const auto total = static_cast<std::int64_t>(ids.size());
  const auto window = std::min(options.at("window").get<std::int64_t>(), session.context().max_tokens());
  const std::int64_t stride =
      options.at("stride").is_number() ? options.at("stride").get<std::int64_t>() : window;
  if (stride > window) {
    throw Error(ExitCode::usage, "[eval] eval.stride " + std::to_string(stride) +
                                     " is larger than the window of " + std::to_string(window) +
                                     " tokens: text between the windows would be skipped");
  }
  const bool progress = isatty(STDERR_FILENO) == 1;
  const auto start = std::chrono::steady_clock::now();
  Score score;
  std::int64_t scored_to = 0;
  for (std::int64_t begin = 0; begin + 1 < total && scored_to < total; begin += stride) {
    if (control.interrupt().load())
      throw Error("[eval] interrupted after " + std::to_string(score.tokens) + " tokens");
    const std::int64_t end = std::min(total, begin + window);
    score_window(session, ids, begin, end, scored_to, score);
    scored_to = end;
    if (progress)
      std::fprintf(stderr, "\r[eval] %lld / %lld tokens", static_cast<long long>(end),
                   static_cast<long long>(total));
  }
  if (progress) std::fprintf(stderr, "\n");

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto count = static_cast<double>(score.tokens);
  const double mean = score.nll / count;
  const double variance = std::max(0.0, score.nll_squared / count - mean * mean);
  const double standard_error = std::sqrt(variance / count);
  const nlohmann::json record = {{"text", path},
                                 {"perplexity", std::exp(mean)},
                                 {"perplexity_standard_error", std::exp(mean) * standard_error},
                                 {"nll_per_token", mean},
                                 {"tokens", total},
                                 {"scored_tokens", score.tokens},
                                 {"window", window},
                                 {"stride", stride},
                                 {"seconds", seconds},
                                 {"tok_s", seconds > 0 ? count / seconds : 0.0},
                                 {"plugins", session.identity().plugins()},
                                 {"compute", session.identity().compute},
                                 {"memory", memory_record(session)}};
  print(record.dump() + "\n");
  write_record(session, {{"result", record}});
  return 0;
}

}  // namespace tetrad::cli
