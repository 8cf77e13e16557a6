#include "cli/engine/session.h"

#include "checkpoint/checkpoint.h"
#include "cli/engine/device_cap.h"
#include "cli/engine/input_file.h"
#include "cli/engine/process_clock.h"
#include "cli/engine/verified_kernels.h"
#include "io/memory.h"
#include "model/generation_config.h"
#include "model/plugin_call.h"
#include "model/weight_bytes.h"
#include "text/utf8.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ops/isinf.h>
#include <ATen/ops/isnan.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/sha256.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace tetrad::cli {
namespace {

Path parse_path(const std::string& name) {
  return name == "bridge" ? Path::bridge : Path::training;
}

std::string eval_cache_state(const nlohmann::json& options, Path path) {
  if (!options.contains("eval_cache") || path == Path::bridge) return "none";
  return options.at("eval_cache").get<bool>() ? "on" : "off";
}

}  // namespace

at::ScalarType parse_dtype(const std::string& name) {
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  return at::kFloat;
}

std::string RunIdentity::first_line() const {
  std::string line = fmt::format(
      "[run] config={} path={} backend={} compute={} eval_cache={} kv={} weights={} device={} dtype={}",
      config_file.empty() ? "(none)" : config_file, path, backend, compute, eval_cache, kv_policy,
      weight_file, device, dtype);
  if (!compute_reason.empty()) line += "\n[run] compute: " + compute_reason;
  if (!device_note.empty()) line += "\n[run] device: " + device_note;
  return line;
}

nlohmann::json RunIdentity::plugins() const {
  return {{"linear", backend + " " + backend_version}, {"kv_cache", kv_policy + " " + kv_version}};
}

nlohmann::json RunIdentity::to_json() const {
  return {{"config_file", config_file}, {"config_hash", config_hash}, {"path", path},
          {"plugins", plugins()},       {"compute", compute},         {"compute_reason", compute_reason},
          {"eval_cache", eval_cache},   {"weight_file", weight_file}, {"weight_identity", weight_identity},
          {"device", device},           {"device_note", device_note}, {"dtype", dtype}};
}

Session::Session(Control& control, MemoryWatch& memory, const RunMessage& run, LoadListener* listener)
    : control_(control),
      memory_(memory),
      run_(run),
      listener_(listener),
      record_(run),
      directory_(config().at("model").at("path").get<std::string>()) {
  if (const auto threads = config().at("run").at("threads").get<int>(); threads > 0)
    at::set_num_threads(threads);
  identity_.config_file = run_.config_file;
  identity_.config_hash = run_.config_hash;
  load_text();
  load_plugins();
  load_weights();
  load_seconds_ = seconds_since_host_start();
  record_.set("load_s", load_seconds_);
  control_.phase("ready", memory_.sample());
}

void Session::load_text() {
  if (std::error_code failed; std::filesystem::is_regular_file(directory_, failed)) {
    throw Error(
        ExitCode::usage,
        fmt::format("[model] model.path '{}' is a file; name the folder with config.json and the tokenizer "
                    "in model.path, and the file in model.weights",
                    directory_.string()));
  }
  model_config_ = model::ModelConfig::load(directory_);
  const nlohmann::json& limit = config().at("model").at("max_context");
  max_tokens_ = limit.is_number() ? limit.get<std::int64_t>() : model_config_.max_position_embeddings;
  if (max_tokens_ > model_config_.max_position_embeddings) {
    throw Error(ExitCode::usage,
                fmt::format("[model] model.max_context {} is beyond the {} positions that {} was made for",
                            max_tokens_, model_config_.max_position_embeddings, directory_.string()));
  }
  stop_ids_ = model::GenerationConfig::load(directory_, model_config_).eos_token_ids;
  tokenizer_ = std::make_unique<text::Tokenizer>(text::Tokenizer::load(directory_));
  if (tokenizer_->vocab_size() > model_config_.vocab_size) {
    throw Error(
        fmt::format("[model] {}: the tokenizer has {} entries, the model's embedding only {}; they do not "
                    "belong together",
                    directory_.string(), tokenizer_->vocab_size(), model_config_.vocab_size));
  }
}

void Session::load_plugins() {
  device_ = choose_device(run());
  setup_.path = parse_path(config().at("path").get<std::string>());
  setup_.dtype = parse_dtype(config().at("model").at("dtype").get<std::string>());
  setup_.device = device_.device;
  setup_.trainable = listener_ != nullptr;
  setup_.deterministic = config().at("run").at("deterministic").get<bool>();

  backend_ = open_plugin<LinearBackend>(run(), device_.device.is_cuda());
  const std::string& id = backend_.id();
  const Capability capability = backend_->capability(setup_);
  if (capability.support == Support::unsupported) {
    throw Error(ExitCode::plugin_refused, "[" + id + "] cannot run here: " + capability.reason);
  }
  linear_ = &*backend_;
  if (listener_ != nullptr) linear_ = &listener_->backend(*backend_, device_.device.is_cuda());
  model::check(linear_->configure(setup_), id, "configure");
  kv_ = open_plugin<KvPolicy>(run(), device_.device.is_cuda());
  refuse_failed_kernels(device_, {{backend_.id(), backend_.build_id()}, {kv_.id(), kv_.build_id()}});
  if (listener_ != nullptr) listener_->configured(setup_);

  identity_.path = config().at("path").get<std::string>();
  identity_.backend = id;
  identity_.backend_version = backend_.version();
  identity_.compute = fmt::format("{} ({})", capability.compute, support_name(capability.support));
  identity_.compute_reason = capability.reason;
  identity_.eval_cache = eval_cache_state(config().at("linear").at("options"), setup_.path);
  identity_.kv_policy = kv_.id();
  identity_.kv_version = kv_.version();
  identity_.device = device_.device.str();
  identity_.device_note = device_.note;
  identity_.dtype = config().at("model").at("dtype").get<std::string>();
}

void Session::load_weights() {
  const nlohmann::json& elsewhere = config().at("model").at("weights");
  const checkpoint::Checkpoint files = checkpoint::Checkpoint::open(
      elsewhere.is_string() ? std::filesystem::path(elsewhere.get<std::string>()) : directory_);
  files.adapt(model_config_);
  identity_.weight_file = files.summary();
  identity_.weight_identity = files.identity();
  // Of files with two planes, hi alone is another model than hi + lo.
  const nlohmann::json& linear = config().at("linear").at("options");
  if (linear.contains("forward") && linear.at("forward") != "hi+lo")
    identity_.weight_identity += " forward=" + linear.at("forward").get<std::string>();
  std::fprintf(stderr, "%s\n", identity_.first_line().c_str());
  record_.set("run", identity_.to_json());
  record_.set("model", {{"path", directory_.string()},
                        {"architecture", model::architecture_name(model_config_.architecture)},
                        {"weight_bytes", files.tensor_bytes()}});
  record_.save();
  for (const std::string& note : files.notes()) std::fprintf(stderr, "[weights] %s\n", note.c_str());
  control_.phase("model_loading", memory_.sample(), files.tensor_bytes());
  refuse_beyond_limit(files);

  const bool terminal = isatty(STDERR_FILENO) == 1;
  int shown = -1;
  const auto progress = [&](std::uint64_t done, std::uint64_t total) {
    const int percent = total == 0 ? 100 : static_cast<int>(done * 100 / total);
    if (!terminal || percent == shown) return;
    shown = percent;
    std::fprintf(stderr, "\r[load] %s of %s (%d %%)%s", io::format_gib(done).c_str(),
                 io::format_gib(total).c_str(), percent, done == total ? "\n" : "");
  };
  const auto on_parameter = [this](Parameter& parameter) {
    if (listener_ != nullptr) listener_->loaded(parameter);
  };
  model::LoadedWeights weights =
      model::load_weights(files, model_config_, setup_, *linear_, backend_.id(), progress, on_parameter);
  transformer_ = std::make_unique<model::Transformer>(model_config_, std::move(weights), *linear_,
                                                      backend_.id(), setup_);
  say_weight_bytes();
  control_.phase("model_loaded", memory_.sample());

  const KvShape shape{model_config_.num_hidden_layers,
                      model_config_.num_key_value_heads,
                      model_config_.head_dim,
                      setup_.dtype,
                      setup_.device,
                      max_tokens_};
  model::check(kv_->configure(shape), kv_.id(), "configure");
  const generate::ContextOptions options{
      max_tokens_, config().at("model").at("prefill_chunk").get<std::int64_t>(),
      config().at("chat").at("check_logits").get<bool>(),
      [this](const generate::Prefill& p) { refuse_prefill_beyond_limit(p); }};
  context_ = std::make_unique<generate::Context>(*transformer_, *kv_, options);
}

void Session::say_weight_bytes() {
  const model::WeightBytes held = model::weight_bytes(transformer_->parameters());
  std::fprintf(stderr, "[weights] held: %s\n", weight_bytes_text().c_str());
  record_.set("weights", {{"dense_bytes", held.dense}, {"plane_bytes", held.planes}});
}

std::string Session::weight_bytes_text() const {
  const model::WeightBytes held = model::weight_bytes(transformer_->parameters());
  const LinearMemory own = linear_->memory();
  std::string text = io::format_gib(static_cast<std::uint64_t>(held.dense)) + " dense, " +
                     io::format_gib(static_cast<std::uint64_t>(held.planes)) + " in NVFP4 planes";
  const auto more = [&](std::int64_t bytes, const char* what) {
    if (bytes > 0) text += ", " + io::format_gib(static_cast<std::uint64_t>(bytes)) + what;
  };
  more(own.weight_bytes, " of the backend's own");
  more(own.eval_cache_bytes, " eval cache");
  return text;
}

// What cannot fit is refused before it is read, with both numbers, rather than ended half-way by the guard.
// On the training path a backend may hold every weight densely; one that can hold planes instead says so by
// its option `residency`. The bridge's packed planes are a fraction and are left to the guard.
void Session::refuse_beyond_limit(const checkpoint::Checkpoint& files) const {
  const auto& limit = run().guard_limit_bytes;
  if (listener_ != nullptr)
    return;  // a training run's forecast has said so, with what the optimizer makes of them
  if (!limit || setup_.path != Path::training || !setup_.device.is_cpu()) return;
  const nlohmann::json& linear = config().at("linear").at("options");
  const bool planes = linear.contains("residency") && linear.at("residency") != "dense";
  std::uint64_t needed = 0;
  for (const checkpoint::Tensor& tensor : files.tensors()) {
    std::uint64_t bytes = at::elementSize(setup_.dtype);
    for (const std::int64_t size : tensor.shape) bytes *= static_cast<std::uint64_t>(size);
    if (planes && tensor.shape.size() == 2) bytes = bytes / at::elementSize(setup_.dtype) * 9 / 16;
    needed += tensor.planes ? tensor.stored_bytes : bytes;
  }
  if (needed <= *limit) return;
  throw Error(
      fmt::format("[guard] the weights alone need {}, and the guard's limit is {}: nothing was loaded; raise "
                  "guard.limit_gb or use the bridge path (configs/bridge.yaml)",
                  io::format_gib(needed), io::format_gib(*limit)));
}

std::optional<MemoryRoom> Session::memory_room() const {
  if (device_.runtime != nullptr) {
    if (device_.allocator_limit == 0) return std::nullopt;
    return MemoryRoom{device_memory().live_bytes, device_.allocator_limit,
                      "what the guard's limit leaves on the device"};
  }
  return host_room();
}

std::optional<MemoryRoom> Session::host_room() const {
  const auto& limit = run().guard_limit_bytes;
  const auto memory = io::host_memory();
  if (!limit || !memory) return std::nullopt;
  return MemoryRoom{static_cast<std::int64_t>(memory->host()), static_cast<std::int64_t>(*limit),
                    "the guard's limit"};
}

// Activations of one pass, largest at the MLP: residual, norm, q, k, v, attention and gate, up and their
// product; fp32 logits and what checks and samples them.
void Session::refuse_prefill_beyond_limit(const generate::Prefill& prefill) const {
  const std::optional<MemoryRoom> room = memory_room();
  if (!room) return;
  const model::ModelConfig& c = model_config_;
  const auto size = static_cast<std::int64_t>(at::elementSize(setup_.dtype));
  const std::int64_t more =
      prefill.kv_bytes + prefill.logit_rows * c.vocab_size * 8 +
      prefill.pass * size *
          (3 * c.hidden_size + std::max(2 * c.q_size() + 2 * c.kv_size(), 3 * c.intermediate_size));
  if (room->holds(more)) return;
  throw Error(
      ExitCode::usage,
      fmt::format("[guard] feeding {} tokens {}: it was not begun, and the context is as before; feed less "
                  "at once, set model.prefill_chunk lower, or raise guard.limit_gb",
                  prefill.tokens, room->shortage(more)));
}

const text::TurnFormat& Session::turn_format() {
  if (!turn_format_) {
    turn_format_ = std::make_unique<text::TurnFormat>(
        text::TurnFormat::derive(text::ChatTemplate::load(directory_), *tokenizer_));
  }
  return *turn_format_;
}

generate::GenerationOptions Session::generation_options() const {
  const nlohmann::json& chat = config().at("chat");
  generate::GenerationOptions options;
  options.max_tokens = chat.at("max_tokens").get<std::int64_t>();
  options.sampling.temperature = chat.at("temperature").get<double>();
  options.sampling.top_k = chat.at("top_k").get<std::int64_t>();
  options.sampling.top_p = chat.at("top_p").get<double>();
  options.sampling.min_p = chat.at("min_p").get<double>();
  options.sampling.repetition_penalty = chat.at("repetition_penalty").get<double>();
  options.sampling.seed = static_cast<std::uint64_t>(chat.at("seed").get<std::int64_t>());
  options.ignore_eos = chat.at("ignore_eos").get<bool>();
  options.stop_on_collapse = chat.at("collapse").get<std::string>() == "stop";
  options.stop_ids = stop_ids_;
  if (chat.at("timeout_secs").is_number()) options.timeout_seconds = chat.at("timeout_secs").get<double>();
  return options;
}

std::optional<std::string> Session::system_prompt() const {
  const nlohmann::json& system = config().at("chat").at("system");
  if (!system.is_string()) return std::nullopt;
  return system.get<std::string>();
}

generate::ChatSession Session::new_chat() {
  return new_chat(generation_options());
}

generate::ChatSession Session::new_chat(const generate::GenerationOptions& options) {
  return {*context_, *tokenizer_, turn_format(), options, system_prompt()};
}

generate::ChatSession Session::new_completion() {
  if (!no_turns_) no_turns_ = std::make_unique<text::TurnFormat>(text::TurnFormat::none(*tokenizer_));
  return {*context_, *tokenizer_, *no_turns_, generation_options(), std::nullopt};
}

ChatIdentity Session::chat_identity() {
  turn_format();
  constexpr std::size_t most = std::size_t{256} << 20;  // bytes; both files were read before
  return {sha256_hex(read_input_file(directory_ / "config.json", "model", "the model's config", most)),
          sha256_hex(read_input_file(directory_ / "tokenizer.json", "model", "the tokenizer", most)),
          sha256_hex(text::ChatTemplate::load(directory_).source()), identity_.weight_identity};
}

void Session::probe_logits(const std::string& prompt, bool raw) {
  bool nan = false, inf = false;
  context_->feed_all(prompt_ids(prompt, raw), [&](std::int64_t, const at::Tensor& logits) {
    nan = nan || at::isnan(logits).any().item<bool>();
    inf = inf || at::isinf(logits).any().item<bool>();
  });
  if (nan || inf) {
    throw Error(
        ExitCode::numerics,
        fmt::format("[numerics] logits of the first prompt: nan={} inf={}; with chat.check_logits=true the "
                    "layer is named",
                    nan, inf));
  }
  context_->reset();
  std::fprintf(stderr, "[info] logits ok: nan=false inf=false\n");
}

std::int64_t Session::shrink_kv() {
  if ((kv_->capabilities() & kv_shrink) == 0) return 0;
  const std::int64_t before = kv_->memory().reserved_bytes;
  return std::max<std::int64_t>(before - kv_->shrink_to(0), 0);
}

std::vector<std::int32_t> Session::prompt_ids(const std::string& prompt, bool raw) {
  text::require_utf8(prompt, "the prompt");
  if (raw) return tokenizer_->encode(prompt);
  return turn_format().first(system_prompt(), prompt).ids;
}

DeviceMemory Session::device_memory() const {
  return device_.runtime == nullptr ? DeviceMemory{} : device_.runtime->memory(device_.device.index());
}

std::int64_t Session::device_peak_bytes() const {
  return device_memory().live_peak_bytes;
}

}  // namespace tetrad::cli
