// `eval`: perplexity of a text (generate/perplexity.h). The text is tokenised whole; windows have
// `eval.window` tokens and start every `eval.stride` tokens (default: the window, no overlap).
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/input_file.h"
#include "cli/engine/session.h"
#include "generate/perplexity.h"

#include <tetrad/base/error.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

namespace tetrad::cli {
namespace {

std::string read_text(const std::string& path) {
  std::string text = read_input_file(path, "eval", "the text file", max_text_bytes);
  if (text.empty()) throw Error(ExitCode::usage, "[eval] the text file '" + path + "' is empty");
  return text;
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
  const generate::TextScore score = generate::score_text(
      session.context(), ids, {window, stride}, [&](std::int64_t scored, std::int64_t end) {
        if (control.interrupt().load())
          throw Error("[eval] interrupted after " + std::to_string(scored) + " tokens");
        if (progress)
          std::fprintf(stderr, "\r[eval] %lld / %lld tokens", static_cast<long long>(end),
                       static_cast<long long>(total));
      });
  if (progress) std::fprintf(stderr, "\n");

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const nlohmann::json record = {{"text", path},
                                 {"perplexity", score.perplexity()},
                                 {"perplexity_standard_error", score.standard_error()},
                                 {"nll_per_token", score.nll_per_token()},
                                 {"tokens", total},
                                 {"scored_tokens", score.tokens},
                                 {"window", window},
                                 {"stride", stride},
                                 {"seconds", seconds},
                                 {"tok_s", seconds > 0 ? static_cast<double>(score.tokens) / seconds : 0.0},
                                 {"plugins", session.identity().plugins()},
                                 {"compute", session.identity().compute},
                                 {"memory", memory_record(session)}};
  print(record.dump() + "\n");
  write_record(session, {{"result", record}});
  return 0;
}

}  // namespace tetrad::cli
