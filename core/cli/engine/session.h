// Everything that a run with a model needs, loaded in order and held together: device, plugins, tokenizer,
// template, weights, KV cache, context. Says on stderr, as the first line of the run, which parts were taken.
#pragma once

#include "checkpoint/checkpoint.h"
#include "cli/chat/saved_chat.h"
#include "cli/engine/control.h"
#include "cli/engine/memory_room.h"
#include "cli/engine/memory_watch.h"
#include "cli/engine/plugins.h"
#include "cli/engine/run_record.h"
#include "device/choose.h"
#include "generate/chat_session.h"
#include "generate/context.h"
#include "model/transformer.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/turn_format.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tetrad::cli {

// Model directory, dtype, device, path and plugins of a run, as the record and the first line name them.
struct RunIdentity {
  std::string config_file, config_hash, path, backend, backend_version, compute, compute_reason, kv_policy,
      kv_version, device, device_note, dtype, weight_file, weight_identity;
  std::string eval_cache;  // on | off | none (a backend without one)

  std::string first_line() const;
  nlohmann::json to_json() const;
  nlohmann::json plugins() const;  // {"linear": "backend-nvfp4 0.1.0", "kv_cache": ...}
};

// For a run that trains: told what runs before the weights are read, and shown each parameter before the
// linear backend prepares it.
class LoadListener {
 public:
  virtual ~LoadListener() = default;
  // The backend that the model is to run on, out of the one that the config names: itself, or one around it.
  // Called before either is configured.
  virtual LinearBackend& backend(LinearBackend& named, bool /*cuda*/) { return named; }
  virtual void configured(const LinearSetup& setup) = 0;
  virtual void loaded(Parameter& parameter) = 0;
};

at::ScalarType parse_dtype(const std::string& name);

class Session {
 public:
  // Loads everything; sends phases. Throws Error.
  Session(Control& control, MemoryWatch& memory, LoadListener* listener = nullptr)
      : Session(control, memory, control.run(), listener) {}
  // The same for another run than the one that host asked for; `run` outlives the session.
  Session(Control& control, MemoryWatch& memory, const RunMessage& run, LoadListener* listener = nullptr);

  const RunMessage& run() const noexcept { return run_; }
  const nlohmann::json& config() const noexcept { return run_.config; }
  Control& control() noexcept { return control_; }
  MemoryWatch& memory() noexcept { return memory_; }
  // What is kept of this run; it names the parts that were taken from before the weights are read.
  RunRecord& record() noexcept { return record_; }
  const RunIdentity& identity() const noexcept { return identity_; }
  const text::Tokenizer& tokenizer() const noexcept { return *tokenizer_; }
  generate::Context& context() noexcept { return *context_; }
  model::Transformer& model() noexcept { return *transformer_; }
  const model::Transformer& model() const noexcept { return *transformer_; }
  const device::Choice& device() const noexcept { return device_; }
  double load_seconds() const noexcept { return load_seconds_; }
  // Highest live bytes on the device so far; 0 on a CPU run.
  std::int64_t device_peak_bytes() const;

  // The chat template's turns. Throws Error when the model has no template or one that cannot be used by
  // turns.
  const text::TurnFormat& turn_format();

  // The `chat` section as options; stop tokens are those of generation_config.json.
  generate::GenerationOptions generation_options() const;
  generate::ChatSession new_chat();
  generate::ChatSession new_chat(const generate::GenerationOptions& options);
  // For raw prompts; needs no chat template.
  generate::ChatSession new_completion();

  // What a stored conversation must agree with.
  ChatIdentity chat_identity();

  // Runs `prompt` once through the whole model, from an empty context to an empty one, and says on stderr
  // that all its logits are finite. Throws Error(numerics) when one is not.
  void probe_logits(const std::string& prompt, bool raw = false);

  const std::filesystem::path& model_directory() const noexcept { return directory_; }
  // Figures of the device; all 0 on a CPU run.
  DeviceMemory device_memory() const;

  LinearMemory linear_memory() const { return linear_->memory(); }

  // Nothing where no limit is set.
  std::optional<MemoryRoom> memory_room() const;
  // The same for host memory, whatever the device.
  std::optional<MemoryRoom> host_room() const;

  // Drops the eval weight cache; the bytes freed.
  std::int64_t clear_eval_cache() { return linear_->clear_eval_cache(); }

  // How many bytes of weights are held, and as what; for a line of text.
  std::string weight_bytes_text() const;

  // Gives back KV slots that hold no token, where the policy can; the bytes freed.
  std::int64_t shrink_kv();

  // Ids of a prompt: through the template as a first turn, or as it stands (`raw`).
  std::vector<std::int32_t> prompt_ids(const std::string& prompt, bool raw);

 private:
  std::optional<std::string> system_prompt() const;
  void load_text();
  void load_plugins();
  void load_weights();
  void say_weight_bytes();
  void refuse_beyond_limit(const checkpoint::Checkpoint& files) const;
  void refuse_prefill_beyond_limit(const generate::Prefill& prefill) const;

  Control& control_;
  MemoryWatch& memory_;
  const RunMessage& run_;
  LoadListener* listener_;
  RunRecord record_;
  std::filesystem::path directory_;
  RunIdentity identity_;
  model::ModelConfig model_config_;
  std::int64_t max_tokens_ = 0;  // context limit of the run
  std::vector<std::int32_t> stop_ids_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<text::TurnFormat> turn_format_, no_turns_;
  device::Choice device_;
  LinearSetup setup_;
  PluginObject<LinearBackend> backend_;
  LinearBackend* linear_ = nullptr;  // *backend_, or what the listener made of it
  PluginObject<KvPolicy> kv_;
  std::unique_ptr<model::Transformer> transformer_;
  std::unique_ptr<generate::Context> context_;
  double load_seconds_ = 0.0;
};

}  // namespace tetrad::cli
