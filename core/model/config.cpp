#include "model/config.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "model/config_fields.h"
#include "sdk/base/printable.h"

namespace tetrad::model {
namespace {

// Far beyond any model of these families, and small enough that every product of two stays far inside int64.
constexpr std::int64_t max_vocab = std::int64_t{1} << 24;
constexpr std::int64_t max_width = std::int64_t{1} << 20;
constexpr std::int64_t max_layers = 4096;
constexpr std::int64_t max_heads = 4096;
constexpr std::int64_t max_head_dim = 4096;
constexpr std::int64_t max_positions = std::int64_t{1} << 30;

Architecture parse_architecture(const Fields& fields) {
  const nlohmann::json* names = fields.value("architectures");
  const auto model_type = fields.string("model_type");
  std::string name;
  if (names != nullptr) {
    if (!names->is_array() || names->size() != 1 || !names->front().is_string()) {
      fields.fail("architectures", fmt::format("is {}, not a list of one name", printable(names->dump())));
    }
    name = names->front().get<std::string>();
  } else if (model_type) {
    name = *model_type == "llama"   ? "LlamaForCausalLM"
           : *model_type == "qwen3" ? "Qwen3ForCausalLM"
                                    : *model_type;
  } else {
    fields.missing("architectures");
  }
  Architecture architecture = Architecture::llama;
  if (name == "Qwen3ForCausalLM") {
    architecture = Architecture::qwen3;
  } else if (name != "LlamaForCausalLM") {
    fields.fail(names ? "architectures" : "model_type",
                fmt::format("says {}; supported are LlamaForCausalLM and Qwen3ForCausalLM", printable(name)));
  }
  if (model_type && *model_type != architecture_name(architecture)) {
    fields.fail("model_type",
                fmt::format("is {}, which does not fit the architecture {}", printable(*model_type), name));
  }
  return architecture;
}

// Refuses what would change the computation and is not implemented.
void refuse_unsupported(const Fields& fields, Architecture architecture) {
  for (const char* name : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
    if (fields.boolean(name).value_or(false)) fields.fail(name, "is true, which is not supported");
  }
  if (const auto act = fields.string("hidden_act"); act && *act != "silu") {
    fields.fail("hidden_act", fmt::format("is {}, only silu is supported", printable(*act)));
  }
  // Qwen3 writes a window beside use_sliding_window: false; a Llama with one would be another model.
  if (architecture == Architecture::llama && fields.has("sliding_window")) {
    fields.fail("sliding_window", "is set, which is not supported");
  }
  if (const nlohmann::json* types = fields.value("layer_types")) {
    if (!types->is_array())
      fields.fail("layer_types", fmt::format("is not a list but {}", types->type_name()));
    for (const nlohmann::json& type : *types) {
      if (type != "full_attention") {
        fields.fail("layer_types",
                    fmt::format("has {}, only full_attention is supported", printable(type.dump())));
      }
    }
  }
  // What a quantised checkpoint holds is core/checkpoint's business; here only whether it is known at all.
  if (const auto quantization = fields.object("quantization_config")) {
    const std::string method = quantization->string("quant_method").value_or("unknown method");
    if (method != "compressed-tensors" && method != "modelopt" && method != "tetrad") {
      fields.fail("quantization_config",
                  fmt::format("says that the weights are stored quantised ({}); use the unquantised model",
                              printable(method)));
    }
  }
}

std::optional<io::DType> parse_dtype(const Fields& fields) {
  // transformers 5 writes "dtype", earlier versions "torch_dtype".
  for (const char* name : {"dtype", "torch_dtype"}) {
    const auto text = fields.string(name);
    if (!text) continue;
    if (*text == "bfloat16") return io::DType::bf16;
    if (*text == "float16") return io::DType::f16;
    if (*text == "float32") return io::DType::f32;
    fields.fail(name, fmt::format("is {}; supported are bfloat16, float16 and float32", printable(*text)));
  }
  return std::nullopt;
}

RopeType parse_rope_type(const Fields& rope) {
  const auto type = rope.string("rope_type");
  const auto old_type = rope.string("type");
  if (type && old_type && *type != *old_type) {
    rope.fail("rope_type", fmt::format("is {}, but 'type' is {}", printable(*type), printable(*old_type)));
  }
  const std::string name = type ? *type : old_type.value_or("default");
  if (name == "default") return RopeType::standard;
  if (name == "linear") return RopeType::linear;
  if (name == "llama3") return RopeType::llama3;
  if (name == "yarn") return RopeType::yarn;
  rope.fail(type ? "rope_type" : "type",
            fmt::format("is {}; supported are default, linear, llama3 and yarn", printable(name)));
}

// config.json of transformers 4 has rope_theta and rope_scaling, that of transformers 5 one rope_parameters
// object.
RopeConfig parse_rope(const Fields& fields, std::int64_t positions) {
  constexpr double huge = 1e12;
  RopeConfig rope;
  rope.theta = fields.number("rope_theta", 1.0 + 1e-6, huge).value_or(rope.theta);
  const auto partial = [](const Fields& of) {
    if (of.number("partial_rotary_factor", 0, 1).value_or(1.0) != 1.0) {
      of.fail("partial_rotary_factor", "is not 1, which is not supported");
    }
  };
  partial(fields);
  const auto scaling = fields.object("rope_scaling");
  const auto parameters = fields.object("rope_parameters");
  if (scaling && parameters && scaling->json() != parameters->json()) {
    fields.fail("rope_scaling", "and 'rope_parameters' are both set and differ; remove one");
  }
  if (!scaling && !parameters) return rope;
  const Fields given = parameters ? *parameters : *scaling;
  partial(given);
  for (const char* layer_type : {"full_attention", "sliding_attention"}) {
    if (given.has(layer_type)) given.fail(layer_type, "sets rope per layer type, which is not supported");
  }
  rope.theta = given.number("rope_theta", 1.0 + 1e-6, huge).value_or(rope.theta);
  rope.type = parse_rope_type(given);
  if (rope.type == RopeType::standard) return rope;

  // yarn alone takes a null factor: the ratio of the two context lengths then.
  const bool derived = rope.type == RopeType::yarn && given.json().contains("factor") && !given.has("factor");
  if (!derived) rope.factor = given.required_number("factor", 1.0, 1e6);
  if (rope.type == RopeType::linear) return rope;

  const char* original = "original_max_position_embeddings";
  rope.original_max_position_embeddings =
      fields.integer(original, 1, max_positions)
          .value_or(given.integer(original, 1, max_positions).value_or(positions));
  if (derived) {
    rope.factor = static_cast<double>(positions) / static_cast<double>(rope.original_max_position_embeddings);
  }
  if (rope.type == RopeType::llama3) {
    rope.low_freq_factor = given.required_number("low_freq_factor", 1e-6, 1e6);
    rope.high_freq_factor = given.required_number("high_freq_factor", 1e-6, 1e6);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      given.fail("high_freq_factor", fmt::format("is {}, not above low_freq_factor {}", rope.high_freq_factor,
                                                 rope.low_freq_factor));
    }
    return rope;
  }
  rope.attention_factor = given.number("attention_factor", 0.0, 1e6);
  rope.mscale = given.number("mscale", 0.0, 1e6);
  rope.mscale_all_dim = given.number("mscale_all_dim", 0.0, 1e6);
  rope.truncate = given.boolean("truncate").value_or(true);
  // transformers takes 0 for absent here.
  const double fast = given.number("beta_fast", 0.0, 1e6).value_or(0.0);
  const double slow = given.number("beta_slow", 0.0, 1e6).value_or(0.0);
  if (fast != 0.0) rope.beta_fast = fast;
  if (slow != 0.0) rope.beta_slow = slow;
  if (rope.beta_fast < rope.beta_slow) {
    given.fail("beta_fast", fmt::format("is {}, below beta_slow {}", rope.beta_fast, rope.beta_slow));
  }
  return rope;
}

}  // namespace

const char* architecture_name(Architecture architecture) noexcept {
  return architecture == Architecture::qwen3 ? "qwen3" : "llama";
}

ModelConfig ModelConfig::load(const std::filesystem::path& model_dir) {
  const auto file = model_dir / "config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) {
    throw Error(
        fmt::format("[config] {}: no config.json here; model.path must name a Hugging Face model directory",
                    model_dir.string()));
  }
  return parse(io::read_json(file), file.string());
}

ModelConfig ModelConfig::parse(const nlohmann::json& config, std::string_view where) {
  const Fields fields(config, where);
  ModelConfig result;
  result.architecture = parse_architecture(fields);
  result.qk_norm = result.architecture == Architecture::qwen3;
  refuse_unsupported(fields, result.architecture);

  result.vocab_size = fields.required_integer("vocab_size", 1, max_vocab);
  result.hidden_size = fields.required_integer("hidden_size", 1, max_width);
  result.intermediate_size = fields.required_integer("intermediate_size", 1, max_width);
  result.num_hidden_layers = fields.required_integer("num_hidden_layers", 1, max_layers);
  result.num_attention_heads = fields.required_integer("num_attention_heads", 1, max_heads);
  result.max_position_embeddings = fields.required_integer("max_position_embeddings", 1, max_positions);
  result.rms_norm_eps = fields.required_number("rms_norm_eps", 1e-20, 1.0);

  const std::int64_t heads = result.num_attention_heads;
  result.num_key_value_heads = fields.integer("num_key_value_heads", 1, heads).value_or(heads);
  if (heads % result.num_key_value_heads != 0) {
    fields.fail("num_key_value_heads", fmt::format("is {}, which does not divide num_attention_heads {}",
                                                   result.num_key_value_heads, heads));
  }
  if (const auto head_dim = fields.integer("head_dim", 2, max_head_dim)) {
    result.head_dim = *head_dim;
  } else if (result.architecture == Architecture::qwen3) {
    fields.missing("head_dim");  // transformers would take 128 here, whatever the other sizes are
  } else if (result.hidden_size % heads != 0) {
    fields.fail("head_dim",
                fmt::format("is missing, and hidden_size {} is no multiple of num_attention_heads {}",
                            result.hidden_size, heads));
  } else {
    result.head_dim = result.hidden_size / heads;
  }
  if (result.head_dim % 2 != 0 || result.head_dim > max_head_dim) {
    fields.fail("head_dim", fmt::format("is {}; rotary embedding needs an even number up to {}",
                                        result.head_dim, max_head_dim));
  }

  result.tie_word_embeddings = fields.boolean("tie_word_embeddings").value_or(false);
  result.rope = parse_rope(fields, result.max_position_embeddings);
  result.dtype = parse_dtype(fields);
  const auto bos = fields.token_ids("bos_token_id", result.vocab_size);
  if (!bos.empty()) result.bos_token_id = bos.front();
  result.eos_token_ids = fields.token_ids("eos_token_id", result.vocab_size);
  return result;
}

}  // namespace tetrad::model
