// The built-in schema: every section and key that a config may have apart from plugin options.
#include <memory>
#include <utility>

#include "config/parity_schema.h"
#include "config/schema.h"
#include "config/schema_builder.h"
#include "config/train_schema.h"

namespace tetrad::config {
namespace {

Field plugin_section(const std::string& kind, std::string doc, const std::string& what) {
  return section(kind, std::move(doc),
                 {Make("plugin", Type::string,
                       "Id of the plugin that provides the " + what + " (`host plugins list` shows them).")
                      .required()
                      .non_empty()
                      .meaning(Meaning::plugin_id)
                      .kind(kind),
                  Make("options", Type::options,
                       "Options of that plugin; `host plugins inspect ID` lists them with their defaults. "
                       "Options written for "
                       "another plugin are dropped, with a warning, where a later file or --set chooses a "
                       "different plugin.")
                      .kind(kind)});
}

Field model_section() {
  return section(
      "model", "The model that is run, and where.",
      {Make("path", Type::string,
            "Folder of the model in Hugging Face format (config.json, tokenizer.json, *.safetensors), dense "
            "or "
            "in NVFP4 (compressed-tensors, ModelOpt, Tetrad). A relative path is "
            "looked for below the current directory, then beside the config file, then one folder above it.")
           .by_default("models/default")
           .non_empty()
           .meaning(Meaning::input_path),
       Make("weights", Type::string,
            "Weights that are not in model.path: a .safetensors file, a folder with model.safetensors or its "
            "shards, or the predecessor's .dat. null takes those in model.path.")
           .nullable()
           .non_empty()
           .meaning(Meaning::input_path),
       Make("dtype", Type::choice,
            "Type of activations, and of the weights that a plugin does not store in its own format.")
           .words({"bfloat16", "float16", "float32"})
           .by_default("bfloat16"),
       Make("device", Type::choice,
            "Where the model runs. `auto` takes the first CUDA device when there is one, else the CPU, and "
            "says which.")
           .words({"auto", "cpu", "cuda", "cuda:<n>"})
           .by_default("auto"),
       Make(
           "max_context", Type::integer,
           "Longest context, prompt and answer together. null takes the model's own max_position_embeddings.")
           .nullable()
           .at_least(1)
           .unit("tokens"),
       Make("prefill_chunk", Type::integer,
            "Tokens per forward pass while a prompt is read; a longer prompt takes several passes. Smaller "
            "needs less memory.")
           .at_least(1)
           .unit("tokens")
           .by_default(2048)});
}

// Only training needs one: without the section, `plugin` is null.
Field optimizer_section() {
  Field field = plugin_section("optimizer", "How weights are updated. Used by the task train.", "optimizer");
  for (Field& child : field.fields) {
    if (child.key != "plugin") continue;
    child.required = false;
    child.nullable = true;
  }
  return field;
}

Field guard_section() {
  return section(
      "guard",
      "Memory limits of a run. The guard ends the run (exit code 124) before the machine runs out of memory.",
      {Make("sensors", Type::list,
            "Ids of guard sensor plugins. Empty: those that this machine has a use for. The machine's own "
            "memory is always watched.")
           .by_default_empty_list()
           .elements(Make("sensor", Type::string, "Id of a guard sensor plugin.").non_empty()),
       Make("limit_gb", Type::number,
            "Most memory that the run's processes may use together. `auto` is 90 % of the machine (or of the "
            "container's limit) and leaves at least 8 GiB on machines over 32 GiB; `none` sets no limit, and "
            "the "
            "run says so.")
           .above(0)
           .words({"auto", "none"})
           .unit("GiB")
           .by_default("none"),
       Make("soft_gb", Type::number,
            "From here the engine is asked to give memory back (eval cache, spare KV slots). `auto` is a "
            "tenth of "
            "the limit below it, at most 4 GiB; `none` never asks.")
           .above(0)
           .words({"auto", "none"})
           .unit("GiB")
           .by_default("auto"),
       Make("allow_blind", Type::boolean,
            "Run although a sensor cannot observe its memory here; false refuses the run with exit code 125.")
           .by_default(true),
       Make("over_secs", Type::number, "How long the limit may be passed before the run is ended.")
           .at_least(0)
           .unit("seconds")
           .by_default(0.0),
       Make("poll_secs", Type::number, "Time between two measurements.")
           .at_least(0.05)
           .unit("seconds")
           .by_default(0.5),
       Make("host_floor_gb", Type::number,
            "The run is ended when the memory that the whole machine has available falls below this.")
           .at_least(0)
           .unit("GiB")
           .by_default(0.5),
       Make("log", Type::string,
            "File that gets each of the guard's readings as a line of JSON. Made anew by each run; null "
            "writes "
            "none.")
           .nullable()
           .non_empty()
           .meaning(Meaning::output_path),
       Make("log_mb", Type::number,
            "Most that the log takes: it is cut in two halves, `log` and `log`.1, and the oldest lines go.")
           .at_least(0.1)
           .at_most(1e6)
           .unit("MiB")
           .by_default(64.0)});
}

Field chat_section() {
  return section(
      "chat", "What is asked, and how the next token is chosen. Used by the tasks chat and generate.",
      {Make("prompt", Type::string,
            "First user message. With it set, the run plays `turns` turns and ends; null reads messages from "
            "the terminal.")
           .nullable(),
       Make("followup_prompt", Type::string, "User message of the second and every later scripted turn.")
           .by_default("continue."),
       Make("turns", Type::integer, "Number of scripted turns. Used when `prompt` is set.")
           .at_least(1)
           .by_default(1),
       Make("after_script", Type::choice,
            "After the scripted turns: `end` ends the run, `interactive` goes on with turns from the "
            "terminal (or "
            "standard input).")
           .words({"end", "interactive"})
           .by_default("end"),
       Make("system", Type::string,
            "System message. null does what the model's chat template does without one.")
           .nullable(),
       Make("max_tokens", Type::integer, "Most tokens of one answer.")
           .at_least(1)
           .unit("tokens")
           .by_default(24),
       Make("temperature", Type::number,
            "0 always takes the most probable token (greedy); higher values make the choice more random.")
           .at_least(0)
           .by_default(0.0),
       Make("top_p", Type::number,
            "Choose among the most probable tokens whose probabilities add up to this; 1 = all.")
           .above(0)
           .at_most(1)
           .by_default(1.0),
       Make("top_k", Type::integer, "Choose among this many of the most probable tokens; 0 = all.")
           .at_least(0)
           .by_default(0),
       Make("min_p", Type::number,
            "Drop tokens less probable than this share of the most probable token's probability; 0 = none.")
           .at_least(0)
           .at_most(1)
           .by_default(0.0),
       Make("repetition_penalty", Type::number,
            "Divides (positive) or multiplies (negative) the logits of tokens already in the context; 1 = "
            "off.")
           .above(0)
           .by_default(1.0),
       Make("seed", Type::integer, "Seed of the random choice: same seed, same text.").by_default(0),
       Make("ignore_eos", Type::boolean, "Go on after a stop token, up to max_tokens. For measurements.")
           .by_default(false),
       Make("collapse", Type::choice,
            "What to do when the answer collapses into one token, or a cycle of up to 8, repeating: `stop` "
            "ends the run "
            "with exit code 4, `flag` reports it and goes on.")
           .words({"stop", "flag"})
           .by_default("flag"),
       Make("check_logits", Type::boolean,
            "Stop with exit code 4 at the first logit that is not finite, naming the layer and tensor it "
            "came from.")
           .by_default(true),
       Make("probe_logits", Type::boolean,
            "Before the first turn, run the first prompt once through the whole model and look at all its "
            "logits: "
            "`[info] logits ok: nan=false inf=false`, or exit code 4.")
           .by_default(false),
       Make("timeout_secs", Type::number,
            "Longest time for one answer; what there is by then is kept and the turn is closed. null: no "
            "limit.")
           .nullable()
           .above(0)
           .unit("seconds"),
       Make("timing", Type::boolean, "Show prefill and decode times in each turn's [kvc] line.")
           .by_default(true),
       Make("tee_text", Type::string, "File that each turn is appended to as text.")
           .nullable()
           .non_empty()
           .meaning(Meaning::output_path),
       Make("tee_jsonl", Type::string,
            "File that each turn is appended to as a line of JSON: {\"ts\", \"messages\": [{\"role\", "
            "\"text\"}], "
            "\"output\"}.")
           .nullable()
           .non_empty()
           .meaning(Meaning::output_path)});
}

Field eval_section() {
  return section(
      "eval", "Perplexity of a text. Used by the task eval.",
      {Make("text", Type::string, "File with the text (UTF-8). The command line's --text sets it too.")
           .nullable()
           .non_empty()
           .meaning(Meaning::input_path),
       Make("window", Type::integer, "Length of the windows that the text is cut into.")
           .at_least(2)
           .unit("tokens")
           .by_default(1024),
       Make(
           "stride", Type::integer,
           "Step from one window to the next; each token is scored once, with at least window - stride "
           "tokens "
           "before it (the first window apart). null takes the window's length: windows that do not overlap.")
           .nullable()
           .at_least(1)
           .unit("tokens"),
       Make("limit", Type::integer,
            "Score at most this many tokens, from the start of the text. null scores the whole text.")
           .nullable()
           .at_least(1)
           .unit("tokens")});
}

Field bench_section() {
  return section("bench", "Tokens per second at several depths. Used by the task bench.",
                 {Make("depths", Type::list, "Tokens that are in the context before what is measured.")
                      .non_empty()
                      .unit("tokens")
                      .by_default({0, 256, 1024})
                      .elements(Make("depth", Type::integer, "A number of tokens.").at_least(0)),
                  Make("prefill", Type::integer, "Length of the prompt that is read at each depth.")
                      .at_least(1)
                      .unit("tokens")
                      .by_default(256),
                  Make("decode", Type::integer, "Tokens that are then fed one by one.")
                      .at_least(1)
                      .unit("tokens")
                      .by_default(32),
                  Make("repeats", Type::integer, "Measurements of each; the median counts.")
                      .at_least(1)
                      .at_most(1000)
                      .by_default(3)});
}

Field make_core_schema() {
  Field any_path = Make("path", Type::string, "A folder.").non_empty().meaning(Meaning::input_path);
  return section(
      "", "A Tetrad config: what is run, on which numerics, within which limits.",
      {Make("task", Type::choice, "What `host --config FILE` does.")
           .words({"chat", "generate", "eval", "train", "bench", "parity"})
           .by_default("chat"),
       model_section(),
       Make("path", Type::choice,
            "Which graph runs the model. `training` is the one that can be trained: weights as parameters, "
            "quantised and "
            "dequantised in the forward pass. `bridge` is the inference wiring on packed weights.")
           .words({"training", "bridge"})
           .by_default("training"),
       plugin_section("linear", "The linear layers' numerics.", "linear layers"),
       plugin_section("kv_cache", "How the keys and values of past tokens are kept.", "KV cache"),
       optimizer_section(), train_section(), guard_section(), chat_section(), eval_section(), bench_section(),
       parity_section(),
       section("run", "How the run is made and recorded.",
               {Make("dir", Type::string,
                     "Folder below which each run stores its record (resolved config, versions, results). "
                     "null stores none.")
                    .nullable()
                    .non_empty()
                    .meaning(Meaning::output_path)
                    .by_default("runs"),
                Make("threads", Type::integer, "CPU threads of the engine; 0 = one per core.")
                    .at_least(0)
                    .at_most(4096)
                    .by_default(0),
                Make("deterministic", Type::boolean,
                     "Use deterministic algorithms only; an operation that has none is refused by name.")
                    .by_default(false)}),
       section(
           "plugins", "Where plugins are found.",
           {Make("path", Type::list, "Folders searched before TETRAD_PLUGIN_PATH and the installed plugins.")
                .by_default_empty_list()
                .elements(std::move(any_path))}),
       Make("pin", Type::text_map,
            "Keys that a --set or an extending file must not change, each with a sentence that says why and "
            "what to do "
            "instead: `pin: {path: \"this config is training-path only; use configs/bridge.yaml\"}`.")});
}

}  // namespace

const Field& core_schema() {
  static const Field schema = make_core_schema();
  return schema;
}

}  // namespace tetrad::config
