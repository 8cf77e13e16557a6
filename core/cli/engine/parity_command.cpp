// `parity`: one arm of a comparison. It plays the conversation greedily, as it would by itself; then it
// scores the script, the same tokens for every arm, position by position; then hidden states, perplexity and
// speed where they are asked for. The reference arm, which is given no script, makes one. With
// parity.train_steps it trains instead (parity_training.cpp). All results are files in args.arm_dir; arm.json
// comes last.
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/exception_text.h"
#include "cli/engine/input_file.h"
#include "cli/engine/parity_arm.h"
#include "cli/engine/process_clock.h"
#include "cli/engine/soft_stage.h"
#include "generate/perplexity.h"
#include "io/atomic_file.h"
#include "parity/arm/conversation.h"
#include "parity/arm/layer_recorder.h"
#include "parity/arm/score.h"
#include "parity/arm/script.h"
#include "parity/arm/top_tokens.h"
#include "parity/files.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

namespace tetrad::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using parity::Script;

class ScoringArm {
 public:
  ScoringArm(Control& control, fs::path folder, const parity::Settings& settings)
      : control_(control), folder_(std::move(folder)), settings_(settings), session_(control, memory_) {
    load_seconds_ = seconds_since_engine_start();
    generate::GenerationOptions options = session_.generation_options();
    options.max_tokens = settings_.max_tokens;
    options.sampling = {};  // greedy, and nothing else that changes the choice
    options.stop_on_collapse = false;
    options.timeout_seconds.reset();
    chat_.emplace(session_.new_chat(options));
    prompts_ = settings_.prompts.empty() ? parity::prompts_of(session_.config()) : settings_.prompts;
  }

  json run() {
    arm_ = arm_identity(session_, load_seconds_);
    arm_["feed"] = settings_.feed_text;
    arm_["prompts"] = prompts_;
    play();
    const Script script = the_script();
    arm_["script_sha256"] = script.sha256();
    if (!control_.run().args.at("script").is_string()) store(script);
    if (can_score(script)) {
      score(script);
      if (settings_.layers) layers(script);
    } else {
      arm_["scored"] = false;
      arm_["positions"] = 0;
    }
    perplexity();
    arm_["memory"].update(memory_record(session_));
    return std::move(arm_);
  }

 private:
  void say(const std::string& line) const { std::fprintf(stderr, "[parity] %s\n", line.c_str()); }

  // Between two passes.
  void between() {
    if (control_.interrupt().load()) throw Error("[parity] interrupted");
    answer_soft_stage(session_);
  }

  std::vector<parity::GreedyTurn> converse() {
    return parity::play(*chat_, session_.context(), settings_.feed, prompts_, control_.interrupt());
  }

  // The first conversation is the one that is shown; what it takes longer, because weights are dequantised
  // and memory is touched for the first time, is a figure of its own.
  void play() {
    control_.phase("parity_conversation", memory_.sample());
    const std::vector<parity::GreedyTurn> turns = converse();
    played_ = parity::script_of(turns, session_.context());
    json shown = json::array();
    for (const parity::GreedyTurn& turn : turns) {
      shown.push_back(turn.to_json(session_.tokenizer()));
      say(fmt::format("turn {}: {} tokens, {}", turn.turn, turn.result.output_ids.size(),
                      generate::stop_reason_name(turn.result.stop_reason)));
    }
    arm_["greedy"] = std::move(shown);
    std::vector<parity::Speed> speeds;
    for (std::int64_t i = 0; i < settings_.repeats; ++i) speeds.push_back(parity::speed_of(converse()));
    const parity::Speed speed = parity::median_speed(speeds);
    arm_["timing"].update({{"ttft_s", speed.ttft_s},
                           {"cold_ttft_s", parity::speed_of(turns).ttft_s},
                           {"prefill_tok_s", speed.prefill_tok_s},
                           {"decode_tok_s", speed.decode_tok_s},
                           {"repeats", settings_.repeats}});
  }

  Script the_script() {
    const json& file = control_.run().args.at("script");
    if (file.is_string()) return Script::load(file.get<std::string>());
    Script script = settings_.continuation
                        ? parity::fixed_script(session_.turn_format(), session_.tokenizer(), chat_->system(),
                                               prompts_, *settings_.continuation)
                        : std::move(played_);
    script.tokenizer_sha256 = session_.tokenizer().identity();
    script.vocab_size = session_.model().config().vocab_size;
    script.made_by = control_.run().args.value("label", folder_.filename().string());
    return script;
  }

  void store(const Script& script) const {
    fs::path result = folder_.parent_path();
    if (result.filename() == parity::arms_folder) result = result.parent_path();
    io::write_file(result / parity::script_file, script.to_json(session_.tokenizer()).dump() + "\n");
  }

  // Ids mean the same tokens here, and the model has a row for each. Throws Error(usage) for a script that
  // the context cannot hold.
  bool can_score(const Script& script) {
    const std::string& own = session_.tokenizer().identity();
    if (!script.tokenizer_sha256.empty() && script.tokenizer_sha256 != own) {
      say("the script is of another tokenizer: not scored");
      return false;
    }
    const auto vocab = session_.model().config().vocab_size;
    if (const auto most = *std::max_element(script.ids.begin(), script.ids.end()); most >= vocab) {
      say(fmt::format("the script has id {}, this model {} rows: not scored", most, vocab));
      return false;
    }
    const auto total = static_cast<std::int64_t>(script.ids.size());
    if (total > session_.context().max_tokens())
      throw Error(ExitCode::usage,
                  fmt::format("[parity] the script has {} tokens, the context limit is {}; raise "
                              "model.max_context or shorten the conversation (parity.max_tokens)",
                              total, session_.context().max_tokens()));
    return true;
  }

  void score(const Script& script) {
    control_.phase("parity_score", memory_.sample());
    const parity::ScoreResult result =
        parity::score_script(session_.context(), script, settings_.feed, settings_.iterations,
                             session_.model().config().vocab_size, folder_ / parity::logits_file,
                             arm_metadata(session_), [this] { between(); });
    arm_["scored"] = true;
    arm_["positions"] = script.ids.size();
    arm_["first_token"] = {
        {"position", script.first_answer_position()},
        {"top", parity::top_tokens(result.first_token, settings_.top_k, session_.tokenizer())}};
    json difference = nullptr;
    if (result.first_difference)
      difference = {{"iteration", result.first_difference->iteration},
                    {"position", result.first_difference->position}};
    arm_["iterations"] = {{"count", result.iterations},
                          {"equal", !result.first_difference.has_value()},
                          {"first_difference", difference}};
    arm_["timing"]["score_s"] = result.seconds;
    const bool retains = session_.context().retains();
    arm_["memory"]["kv_bytes"] = retains ? result.kv.used_bytes : 0;
    arm_["memory"]["kv_reserved_bytes"] = retains ? result.kv.reserved_bytes : 0;
    say(fmt::format("scored {} positions in {:.2f} s", script.ids.size(), result.seconds));
  }

  void layers(const Script& script) {
    control_.phase("parity_layers", memory_.sample());
    const auto end = static_cast<std::int64_t>(script.ids.size());
    parity::LayerRecorder recorder(std::max<std::int64_t>(0, end - settings_.layer_tokens), end);
    session_.context().observe(&recorder);
    try {
      parity::feed_script(
          session_.context(), script, settings_.feed, [](std::int64_t, const at::Tensor&) {},
          [this] { between(); });
    } catch (...) {
      session_.context().observe(nullptr);
      throw;
    }
    session_.context().observe(nullptr);
    recorder.write(folder_ / parity::layers_file, arm_metadata(session_));
  }

  void perplexity() {
    arm_["perplexity"] = nullptr;
    if (!settings_.text) return;
    control_.phase("parity_perplexity", memory_.sample());
    const std::string path = settings_.text->string();
    const std::string text = read_input_file(path, "parity", "the text file", max_text_bytes);
    if (text.empty())
      throw Error(ExitCode::usage, fmt::format("[parity] the text file '{}' (parity.text) is empty", path));
    std::vector<std::int32_t> ids = session_.prompt_ids(text, /*raw=*/true);
    ids.resize(std::min(ids.size(), static_cast<std::size_t>(settings_.text_tokens)));
    if (ids.size() < 2)
      throw Error(ExitCode::usage, fmt::format("[parity] '{}' has fewer than two tokens", path));
    const std::int64_t window = std::min(settings_.window, session_.context().max_tokens());
    const generate::TextScore score = generate::score_text(session_.context(), ids, {window, window},
                                                           [this](std::int64_t, std::int64_t) { between(); });
    arm_["perplexity"] = {{"text", path},
                          {"value", score.perplexity()},
                          {"standard_error", score.standard_error()},
                          {"nll_per_token", score.nll_per_token()},
                          {"token_nll", score.token_nll},
                          {"tokens", score.tokens},
                          {"window", window}};
    say(fmt::format("perplexity {:.4f} +- {:.4f}", score.perplexity(), score.standard_error()));
  }

  Control& control_;
  fs::path folder_;
  const parity::Settings& settings_;
  MemoryWatch memory_;
  Session session_;
  double load_seconds_ = 0.0;
  std::optional<generate::ChatSession> chat_;
  std::vector<std::string> prompts_;
  Script played_;
  json arm_;
};

json run_arm(Control& control, const fs::path& folder) {
  const parity::Settings settings = parity::read_settings(control.run().args.at("settings"));
  if (settings.train_steps > 0) return run_training_arm(control, folder, settings);
  return ScoringArm(control, folder, settings).run();
}

void write_arm(const fs::path& folder, json arm) {
  arm["format"] = parity::arm_format;
  arm["version"] = parity::format_version;
  io::write_file(folder / parity::arm_file, arm.dump() + "\n");
}

}  // namespace

json arm_identity(Session& session, double load_seconds) {
  json numerics = json::object();
  for (const PluginRef& plugin : session.run().plugins) {
    const json said = plugin.metadata.value("plugin", json::object());  // plugin.json as in the file
    numerics[plugin.kind] = said.value("numerics", json(nullptr));
  }
  return {{"identity", session.identity().to_json()},
          {"tokenizer_sha256", session.tokenizer().identity()},
          {"vocab_size", session.model().config().vocab_size},
          {"layers", session.model().config().num_hidden_layers},
          {"weights_identity", session.identity().weight_identity},
          {"numerics", numerics},
          {"perplexity", nullptr},
          {"training", nullptr},
          {"timing", {{"load_s", load_seconds}}},
          {"memory", memory_record(session)}};
}

std::map<std::string, std::string> arm_metadata(Session& session) {
  return {{"tetrad", session.identity().to_json().dump()}};
}

int run_parity(Control& control) {
  const fs::path folder = control.run().args.at("arm_dir").get<std::string>();
  try {
    json arm = run_arm(control, folder);
    arm["status"] = "ok";
    arm["error"] = nullptr;
    arm["exit_code"] = 0;
    write_arm(folder, std::move(arm));
    return 0;
  } catch (...) {
    const auto [code, message] = describe_exception();
    try {
      write_arm(folder, {{"status", "failed"}, {"error", message}, {"exit_code", code}});
    } catch (const std::exception& e) {
      // The failure that led here is the one to report.
      std::fprintf(stderr, "[parity] %s could not be written either: %s\n", parity::arm_file, e.what());
    }
    throw;
  }
}

}  // namespace tetrad::cli
