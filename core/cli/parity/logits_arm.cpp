#include "cli/parity/logits_arm.h"

#include "cli/parity/result_folder.h"
#include "io/atomic_file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "parity/arm/pieces.h"
#include "parity/arm/script.h"
#include "parity/arm/top_tokens.h"
#include "parity/files.h"
#include "parity/plan/settings.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

namespace tetrad::cli {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// A file of logits as checked. Rows are read where they lie: they need not be aligned.
class LogitsFile {
 public:
  explicit LogitsFile(const fs::path& path) : file_(io::SafetensorsFile::open(path)) {
    const io::TensorView* ids = file_.find("input_ids");
    const io::TensorView* logits = file_.find("logits");
    const bool good = ids != nullptr && logits != nullptr && ids->dtype == io::DType::i64 &&
                      logits->dtype == io::DType::f32 && ids->shape.size() == 1 &&
                      logits->shape.size() == 2 && ids->shape[0] == logits->shape[0] && logits->shape[1] > 0;
    if (!good) refuse("it must hold input_ids int64 [T] and logits float32 [T, V]");
    constexpr std::int64_t most = std::int64_t{1} << 22;
    if (ids->shape[0] < 2 || ids->shape[0] > most)
      refuse(fmt::format("{} positions cannot be compared", ids->shape[0]));
    logits_ = logits;
    vocab_ = logits->shape[1];
    for (std::int64_t i = 0; i < ids->shape[0]; ++i) {
      std::int64_t id = 0;
      std::memcpy(&id, ids->bytes.data() + i * 8, sizeof id);
      if (id < 0 || id >= vocab_)
        refuse(fmt::format("input_ids[{}] = {} is not in its vocabulary of {}", i, id, vocab_));
      ids_.push_back(static_cast<std::int32_t>(id));
    }
  }

  const std::vector<std::int32_t>& ids() const noexcept { return ids_; }
  std::int64_t vocab() const noexcept { return vocab_; }

  std::vector<float> row(std::int64_t position) const {
    std::vector<float> values(static_cast<std::size_t>(vocab_));
    const std::size_t bytes = values.size() * sizeof(float);
    std::memcpy(values.data(), logits_->bytes.data() + static_cast<std::size_t>(position) * bytes, bytes);
    return values;
  }

  // "" when the file does not say.
  std::string note(const char* key) const {
    const auto found = file_.metadata().find(key);
    return found == file_.metadata().end() ? "" : found->second;
  }

  // What the file says about turns; else all of it is one prompt.
  json segments() const {
    const std::string text = note("segments");
    if (text.empty())
      return json::array({{{"kind", "prompt"}, {"turn", 1}, {"begin", 0}, {"end", ids_.size()}}});
    return io::parse_json(text, fmt::format("{}: metadata 'segments'", file_.path().string()));
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ExitCode::usage,
                fmt::format("[parity] the file of logits '{}': {}", file_.path().string(), what));
  }

 private:
  io::SafetensorsFile file_;
  const io::TensorView* logits_ = nullptr;
  std::vector<std::int32_t> ids_;
  std::int64_t vocab_ = 0;
};

// The answers that the script holds, as if the file's engine had just given them.
json answers(const parity::Script& script, const text::Tokenizer& tokenizer) {
  json turns = json::array();
  for (const parity::Segment& part : script.segments) {
    if (part.kind != parity::Segment::Kind::answer) continue;
    const std::vector<std::int32_t> ids(script.ids.begin() + part.begin, script.ids.begin() + part.end);
    turns.push_back({{"turn", part.turn},
                     {"ids", ids},
                     {"text", text::lossy_utf8(tokenizer.decode(ids, /*skip_special=*/true))},
                     {"pieces", parity::token_pieces(tokenizer, ids)},
                     {"stop_reason", nullptr},
                     {"top1_top2_gaps", json::array()},
                     {"ms", nullptr}});
  }
  return turns;
}

parity::Script script_of(const LogitsFile& file, const parity::Arm& arm, const text::Tokenizer& tokenizer) {
  const std::string theirs = file.note("tokenizer_sha256");
  return parity::Script::parse({{"format", parity::script_format},
                                {"version", parity::format_version},
                                {"ids", file.ids()},
                                {"segments", file.segments()},
                                {"tokenizer_sha256", theirs.empty() ? tokenizer.identity() : theirs},
                                {"vocab_size", file.vocab()},
                                {"made_by", arm.label}},
                               arm.config.at("parity").at("logits_file").get<std::string>());
}

void require_same(const LogitsFile& file, const parity::Script& script) {
  if (file.ids() == script.ids) return;
  const auto [own, scripts] =
      std::mismatch(file.ids().begin(), file.ids().end(), script.ids.begin(), script.ids.end());
  file.refuse(fmt::format(
      "its {} input_ids are not the {} of the script; the first difference is at position {}. Make it the "
      "reference (parity.reference), so that its ids are the script",
      file.ids().size(), script.ids.size(), own - file.ids().begin()));
}

}  // namespace

void take_logits_file(const parity::Plan& plan, const parity::Arm& arm, const fs::path& result_folder) {
  const parity::Settings settings = parity::read_settings(arm.config.at("parity"));
  const LogitsFile file(settings.logits_file.value());
  const text::Tokenizer tokenizer =
      text::Tokenizer::load(arm.config.at("model").at("path").get<std::string>());
  const fs::path folder = result_folder / arm.folder;
  parity::Script script = script_of(file, arm, tokenizer);
  if (arm.index == plan.reference) {
    io::write_file(result_folder / parity::script_file, script.to_json(tokenizer).dump(1) + "\n");
  } else {
    const parity::Script common = parity::Script::load(result_folder / parity::script_file);
    require_same(file, common);
    script.segments = common.segments;
  }
  const fs::path copy = folder / parity::logits_file;
  std::error_code failed;
  fs::copy_file(*settings.logits_file, copy, fs::copy_options::overwrite_existing, failed);
  if (failed)
    throw Error(
        fmt::format("[parity] the logits cannot be copied to '{}': {}", copy.string(), failed.message()));

  const json nothing = nullptr;
  const std::int64_t first = script.first_answer_position();
  const json record = {
      {"format", parity::arm_format},
      {"version", parity::format_version},
      {"status", "ok"},
      {"error", nothing},
      {"exit_code", 0},
      {"identity", {{"logits_file", settings.logits_file->string()}, {"engine", file.note("engine")}}},
      {"tokenizer_sha256", script.tokenizer_sha256},
      {"vocab_size", file.vocab()},
      {"weights_identity", nothing},
      {"numerics", nothing},
      {"feed", "file"},
      {"script_sha256", script.sha256()},
      {"positions", file.ids().size()},
      {"greedy", answers(script, tokenizer)},
      {"first_token",
       {{"position", first}, {"top", parity::top_tokens(file.row(first), settings.top_k, tokenizer)}}},
      {"perplexity", nothing},
      {"timing", nothing},
      {"memory", nothing},
      {"iterations", {{"count", 1}, {"equal", true}, {"first_difference", nothing}}},
      {"training", nothing}};
  write_json_file(folder / parity::arm_file, record);
}

}  // namespace tetrad::cli
