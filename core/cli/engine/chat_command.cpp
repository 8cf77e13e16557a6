// `chat`: a script of turns when the config has a prompt, and turns from a person or from standard input when
// it has none or goes on after the script. This process reads the terminal: it is in the launcher's process
// group.
#include "cli/chat/chat_loop.h"
#include "cli/chat/line_editor.h"
#include "cli/chat/plain_lines.h"
#include "cli/chat/tee.h"
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/process_clock.h"
#include "cli/engine/session.h"
#include "cli/engine/soft_stage.h"
#include "text/utf8.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

namespace tetrad::cli {
namespace {

std::optional<std::string> optional_text(const nlohmann::json& value) {
  if (!value.is_string()) return std::nullopt;
  return value.get<std::string>();
}

std::string utc_now() {
  const time_t now = ::time(nullptr);
  tm parts{};
  ::gmtime_r(&now, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

double mib(std::int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

class ModelConversation : public Conversation {
 public:
  explicit ModelConversation(Session& session)
      : session_(session),
        chat_(session.new_chat()),
        tee_(optional_text(options().at("tee_text")), optional_text(options().at("tee_jsonl"))) {}

  const nlohmann::json& options() const { return session_.config().at("chat"); }

  int turn(const std::string& prompt) override {
    text::require_utf8(prompt, "the prompt");
    Control& control = session_.control();
    control.phase("input");  // a Ctrl-C at the prompt does not count together with one during the answer
    std::atomic<bool>& interrupt = control.interrupt();
    interrupt.store(false);
    answer_soft_stage(session_);
    const auto on_text = [this](std::string_view piece) {
      if (first_token_seconds_ == 0.0) first_token_seconds_ = seconds_since_host_start();
      print(piece);
      answer_soft_stage(session_);
    };
    const generate::TurnResult result = chat_.turn(prompt, on_text, interrupt);
    print("\n");
    if (result.withheld_bytes > 0) {
      std::fprintf(stderr,
                   "[text] the last character was cut in half by the end of the output; %zu bytes withheld\n",
                   result.withheld_bytes);
    }
    if (result.stop_reason == generate::StopReason::timeout)
      std::fprintf(stderr, "[chat] the answer took longer than chat.timeout_secs and ends here\n");
    const bool timing = options().at("timing").get<bool>();
    std::fprintf(stderr, "%s\n", kvc_line(chat_.turns(), result, session_.context(), timing).c_str());
    record_turn(session_, prompt, turn_record(result, session_.context()));
    generated_ += result.decoded_tokens;
    decode_seconds_ += result.decode_seconds;
    tee_.append(prompt, result.text);
    control.phase("turn", session_.memory().sample());
    return report_collapse(result);
  }

  std::optional<std::string> undo() override {
    std::optional<std::string> user = chat_.undo();
    if (!user) return user;
    session_.record().add_command("/undo");
    return user;
  }

  void reset() override {
    chat_.reset();
    session_.record().add_command("/reset");
  }
  std::optional<std::string> system() const override { return chat_.system(); }
  void set_system(const std::string& text) override {
    text::require_utf8(text, "the system message");
    chat_.set_system(text);
    session_.record().add_command("/system " + text);
  }
  std::int64_t clear_cache() override { return session_.clear_eval_cache(); }

  std::string stats() override {
    const generate::Context& context = session_.context();
    const KvMemory kv = context.kv_memory();
    const double rate = decode_seconds_ > 0 ? static_cast<double>(generated_) / decode_seconds_ : 0;
    std::string device;
    if (const DeviceMemory memory = session_.device_memory(); memory.live_peak_bytes > 0)
      device = fmt::format("[stats] device memory: {:.1f} MiB live now, {:.1f} MiB peak\n",
                           mib(memory.live_bytes), mib(memory.live_peak_bytes));
    return fmt::format(
        "[stats] turns={} seqLen={} contextTokens={} of {}\n"
        "[stats] kv_cache: {:.1f} MiB used, {:.1f} MiB reserved\n"
        "[stats] weights: {}\n{}"
        "[stats] host memory: {:.1f} MiB now, {:.1f} MiB peak; decode {:.1f} tok/s over {} tokens\n",
        chat_.turns(), context.kv_lengths().resident, context.length(), context.max_tokens(),
        mib(kv.used_bytes), mib(kv.reserved_bytes), session_.weight_bytes_text(), device,
        mib(static_cast<std::int64_t>(session_.memory().sample())),
        mib(static_cast<std::int64_t>(session_.memory().peak())), rate, generated_);
  }

  std::string save(const std::string& file) override {
    SavedChat saved;
    saved.identity = session_.chat_identity();
    saved.model_path = session_.config().at("model").at("path").get<std::string>();
    saved.saved_utc = utc_now();
    saved.system = chat_.system();
    saved.ledger = session_.context().ledger();
    saved.turns = chat_.turn_table();
    write_chat(file, saved);
    return fmt::format("[chat] saved to {}: {} turns, {} tokens", file, saved.turns.size(),
                       saved.ledger.size());
  }

  std::string load(const std::string& file) override {
    SavedChat saved = read_chat(file, session_.model().config().vocab_size);
    require_same(file, saved.identity, session_.chat_identity());
    const auto start = std::chrono::steady_clock::now();
    chat_.restore(saved.ledger, std::move(saved.turns), std::move(saved.system));
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    session_.record().add_command("/load " + file);
    return fmt::format("[chat] loaded {}: {} turns, {} tokens prefilled in {:.1f} ms", file, chat_.turns(),
                       session_.context().length(), took.count());
  }

  nlohmann::json record() const { return {{"ttft_s", first_token_seconds_}}; }

 private:
  Session& session_;
  generate::ChatSession chat_;
  Tee tee_;
  double first_token_seconds_ = 0.0;
  std::int64_t generated_ = 0;
  double decode_seconds_ = 0.0;
};

int run_script(ModelConversation& conversation) {
  const nlohmann::json& options = conversation.options();
  const auto turns = options.at("turns").get<std::int64_t>();
  for (std::int64_t turn = 1; turn <= turns; ++turn) {
    const auto prompt = options.at(turn == 1 ? "prompt" : "followup_prompt").get<std::string>();
    std::fprintf(stderr, "> %s\n", prompt.c_str());
    if (const int code = conversation.turn(prompt); code != 0) return code;
  }
  return 0;
}

std::unique_ptr<LineSource> open_lines(Control& control) {
  if (!LineEditor::usable()) return std::make_unique<PlainLines>(isatty(STDIN_FILENO) == 1, "> ");
  EditorOptions options;
  options.history_file = default_history_file();
  options.wake_fd = control.wake_fd();
  options.on_activity = [&control] { control.phase("input"); };
  return std::make_unique<LineEditor>(std::move(options));
}

}  // namespace

int run_chat(Control& control) {
  MemoryWatch memory;
  Session session(control, memory);
  const nlohmann::json& options = session.config().at("chat");
  const std::optional<std::string> prompt = optional_text(options.at("prompt"));
  if (options.at("probe_logits").get<bool>())
    session.probe_logits(prompt.value_or("Write one short sentence about UFO and you."));
  ModelConversation conversation(session);
  int code = prompt ? run_script(conversation) : 0;
  if (code == 0 && (!prompt || options.at("after_script") == "interactive")) {
    const std::unique_ptr<LineSource> lines = open_lines(control);
    if (lines->person()) std::fprintf(stderr, "[chat] /help lists the commands\n");
    code = run_chat_loop(*lines, conversation);
  }
  write_record(session, conversation.record());
  return code;
}

}  // namespace tetrad::cli
