#include "config/parity_schema.h"

#include "config/schema_builder.h"

namespace tetrad::config {
namespace {

std::vector<Field> script_fields() {
  return {
      Make("prompts", Type::list,
           "User messages of the conversation that is compared. Empty: chat.prompt, then "
           "chat.followup_prompt up to chat.turns.")
          .by_default_empty_list()
          .elements(Make("prompt", Type::string, "A user message.").non_empty()),
      Make("max_tokens", Type::integer, "Most tokens of each greedy answer.")
          .at_least(1)
          .unit("tokens")
          .by_default(24),
      Make("continuation", Type::string,
           "Text that stands for the first answer in the script which every arm scores. null: the reference "
           "arm's own answers.")
          .nullable()
          .non_empty(),
      Make("feed", Type::choice,
           "How the script is fed to the KV cache: `whole` at once, `turns` turn by turn, `chunk:<n>` n "
           "tokens "
           "at a time, `tokens` one by one. `off` uses no cache: each turn computes everything before it "
           "again.")
          .words({"off", "whole", "turns", "tokens", "chunk:<n>"})
          .by_default("turns"),
      Make("iterations", Type::integer,
           "How often the script is scored, each time from an empty cache. Every time must give the first "
           "one's logits to the bit.")
          .at_least(1)
          .by_default(1),
      Make("logits_file", Type::string,
           "A file of logits (`input_ids` int64 [T], `logits` float32 [T, V]) that stands for this arm "
           "instead of a run; as the reference its tokens are the script.")
          .nullable()
          .non_empty()
          .meaning(Meaning::input_path),
  };
}

std::vector<Field> measurement_fields() {
  return {
      Make("layers", Type::boolean,
           "Compare hidden states too, to name the layer and tensor where the paths part.")
          .by_default(false),
      Make("layer_tokens", Type::integer, "Positions at the script's end whose hidden states are compared.")
          .at_least(1)
          .unit("tokens")
          .by_default(32),
      Make("text", Type::string, "File with a text whose perplexity each arm measures. null: none.")
          .nullable()
          .non_empty()
          .meaning(Meaning::input_path),
      Make("text_tokens", Type::integer, "Tokens of that text that are scored at most.")
          .at_least(2)
          .unit("tokens")
          .by_default(2048),
      Make("window", Type::integer, "Length of the windows that the text is cut into.")
          .at_least(2)
          .unit("tokens")
          .by_default(512),
      Make("top_k", Type::integer, "Candidates for the first answer token that are shown side by side.")
          .at_least(1)
          .at_most(100)
          .by_default(5),
      Make("repeats", Type::integer, "Measurements of each time; the median counts.")
          .at_least(1)
          .at_most(1000)
          .by_default(1),
      Make("train_steps", Type::integer,
           "Above 0 each arm trains that many steps of `train` instead of talking: losses and the first "
           "step's updates are compared.")
          .at_least(0)
          .by_default(0),
  };
}

Field tolerance() {
  const auto limit = [](const char* key, const char* doc) -> Make {
    return Make(key, Type::number, doc).nullable().at_least(0);
  };
  return section(
      "tolerance",
      "What is allowed against the reference arm. null: what the plugins' numerics contracts say.",
      {limit("kl", "Highest KL divergence of a position, in nats."),
       limit("top1", "Lowest share of positions with the same most probable token.").at_most(1),
       limit("max_logit", "Highest difference of a logit."),
       limit("perplexity_ratio", "Highest ratio of the perplexities, the larger over the smaller."),
       limit("layer", "Highest relative error of a hidden state."),
       limit("loss", "Highest relative difference of a training loss."),
       limit("update", "Highest relative error of a tensor's first update.")});
}

Field sweep() {
  return section(
      "sweep",
      "The arms, as values of config keys. Keys are dotted paths such as `parity.feed` or "
      "`linear.options.eval_cache`.",
      {Make("matrix", Type::free_map,
            "Key to list of values: an arm for each combination. `{path: [training, bridge]}`."),
       Make("zip", Type::free_map,
            "Key to list of values, all of one length: the first of each, the second of each and so on, with "
            "every combination of `matrix`."),
       Make("include", Type::list,
            "Further arms, each a map of key to value; a key `label` names the arm. `{}` is the config as it "
            "stands.")
           .by_default_empty_list()
           .elements(Make("arm", Type::free_map, "Key to value.")),
       Make("exclude", Type::list,
            "Combinations of `matrix` and `zip` to leave out: those with all values of one of these maps.")
           .by_default_empty_list()
           .elements(Make("combination", Type::free_map, "Key to value."))});
}

}  // namespace

Field parity_section() {
  std::vector<Field> fields = script_fields();
  for (Field& field : measurement_fields()) fields.push_back(std::move(field));
  fields.push_back(Make("reference", Type::string,
                        "The arm that the others are compared with: its label, or its number as a text. "
                        "null: the first.")
                       .nullable()
                       .non_empty());
  fields.push_back(
      Make("against", Type::string,
           "For an arm of a sweep: the arm that it is compared with instead of the reference, by "
           "label or number. An arm that names itself is a second reference.")
          .nullable()
          .non_empty());
  fields.push_back(Make("self_noise_factor", Type::number,
                        "Where the reference is swept over feeds, the KL that its other feeds show against "
                        "it, times this, is allowed for all arms.")
                       .at_least(0)
                       .by_default(2.0));
  fields.push_back(tolerance());
  fields.push_back(sweep());
  return section("parity", "Comparison of arms that differ in a few keys. Used by `host parity`.",
                 std::move(fields));
}

}  // namespace tetrad::config
