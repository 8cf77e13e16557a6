#include "checkpoint/quantization.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "io/json.h"
#include "model/config_fields.h"
#include "sdk/base/printable.h"
#include "text/regex.h"

namespace tetrad::checkpoint {
namespace {

namespace fs = std::filesystem;
using model::Fields;
using nlohmann::json;

constexpr std::int64_t group_size = 16;
constexpr const char* packed_format = "nvfp4-pack-quantized";

std::vector<std::string> string_list(const Fields& fields, const char* name) {
  std::vector<std::string> result;
  const json* value = fields.value(name);
  if (value == nullptr) return result;
  if (!value->is_array()) fields.fail(name, fmt::format("is not a list but {}", value->type_name()));
  for (const json& item : *value) {
    if (!item.is_string()) fields.fail(name, fmt::format("has {}, not a name", printable(item.dump())));
    result.push_back(item.get<std::string>());
  }
  return result;
}

void check_group_size(const Fields& args) {
  const auto size = args.integer("group_size", -1, 1 << 20);
  if (size && *size != group_size)
    args.fail("group_size", fmt::format("is {}; NVFP4 has groups of {}", *size, group_size));
}

// One "weights" or "input_activations" object.
void check_args(const Fields& args, bool weights) {
  if (const auto bits = args.integer("num_bits", 1, 64); bits.value_or(4) != 4)
    args.fail("num_bits", fmt::format("is {}; only 4-bit NVFP4 is read", *bits));
  if (const auto type = args.string("type"); type && *type != "float")
    args.fail("type", fmt::format("is {}; NVFP4 is of type float", printable(*type)));
  check_group_size(args);
  if (!args.boolean("symmetric").value_or(true)) args.fail("symmetric", "is false; NVFP4 has no zero points");
  if (!weights) return;
  if (args.has("actorder")) {
    const json& order = *args.value("actorder");
    if (order != "weight" && order != "static" && order != false)
      args.fail("actorder", fmt::format("is {}, which permutes columns", printable(order.dump())));
  }
  if (const auto strategy = args.string("strategy"); strategy && *strategy != "tensor_group")
    args.fail("strategy", fmt::format("is {}; NVFP4 is tensor_group", printable(*strategy)));
}

// The groups of a compressed-tensors config (ModelOpt's config.json has them too). Returns whether
// activations are quantised.
bool check_groups(const Fields& fields, bool compressed_tensors) {
  const auto groups = fields.object("config_groups");
  if (!groups) {
    if (compressed_tensors) fields.missing("config_groups");
    return false;
  }
  bool any = false, activations = false;
  for (const auto& [name, value] : groups->json().items()) {
    const auto group = groups->object(name.c_str());
    if (!group) continue;
    const auto weights = group->object("weights");
    if (!weights) group->missing("weights");
    check_args(*weights, true);
    if (compressed_tensors) {
      const auto format = group->string("format");
      if (format && *format != packed_format)
        group->fail("format", fmt::format("is {}; only {} is read", printable(*format), packed_format));
      if (!weights->has("num_bits")) weights->missing("num_bits");
      if (!weights->has("group_size")) weights->missing("group_size");
    }
    if (group->has("output_activations")) group->fail("output_activations", "is set, which is not supported");
    const auto inputs = group->object("input_activations");
    if (inputs) check_args(*inputs, false);
    if (any && activations != inputs.has_value())
      fields.fail("config_groups",
                  "mix groups with and without quantised activations, which is not supported");
    any = true;
    activations = inputs.has_value();
  }
  if (!any && compressed_tensors) fields.fail("config_groups", "is empty");
  return activations;
}

void note_cache(const Fields& fields, const char* name, Quantization& result) {
  const json* value = fields.value(name);
  if (value == nullptr || *value == "none" || *value == "NONE") return;
  result.notes.push_back(
      fmt::format("{}: {}: the scales of a quantised KV cache are not used", name, printable(value->dump())));
}

Quantization read_compressed_tensors(const Fields& fields) {
  Quantization result;
  result.layout = Layout::compressed_tensors;
  const auto format = fields.string("format");
  if (!format) fields.missing("format");
  if (*format != packed_format)
    fields.fail("format", fmt::format("is {}; only {} is read", printable(*format), packed_format));
  if (const auto status = fields.string("quantization_status"); status && *status != "compressed") {
    fields.fail(
        "quantization_status",
        fmt::format("is {}: the weights are not packed; save the model compressed", printable(*status)));
  }
  // A Hadamard rotation of the weights, or pruned ones: the planes alone would be another model.
  for (const char* name : {"transform_config", "sparsity_config"}) {
    const json* value = fields.value(name);
    if (value == nullptr || value->empty()) continue;
    if (value->is_object() && value->value("format", json()) == "dense") continue;
    if (value->is_object() && value->size() == 1 && value->value("config_groups", json(0)).empty()) continue;
    fields.fail(name, "is set, which is not supported");
  }
  result.activations = check_groups(fields, true);
  result.ignore = string_list(fields, "ignore");
  result.lists_modules = true;
  note_cache(fields, "kv_cache_scheme", result);
  return result;
}

// ModelOpt's own file has the fields under "quantization"; in config.json they stand flat.
Quantization read_modelopt(const Fields& fields, const char* ignore, const char* cache) {
  Quantization result;
  result.layout = Layout::modelopt;
  const auto algorithm = fields.string("quant_algo");
  if (!algorithm) fields.missing("quant_algo");
  if (*algorithm != "NVFP4" && *algorithm != "W4A16_NVFP4") {
    fields.fail("quant_algo", fmt::format("is {}; NVFP4 and W4A16_NVFP4 are read", printable(*algorithm)));
  }
  result.activations = *algorithm == "NVFP4";
  check_group_size(fields);
  check_groups(fields, false);
  for (const char* name : {"has_zero_point", "pre_quant_scale"}) {
    if (fields.boolean(name).value_or(false)) fields.fail(name, "is true, which is not supported");
  }
  result.ignore = string_list(fields, ignore);
  result.lists_modules = true;
  note_cache(fields, cache, result);
  return result;
}

Quantization read_tetrad(const Fields& fields) {
  Quantization result;
  result.layout = Layout::tetrad;
  const std::int64_t version = fields.required_integer("version", 0, 1 << 20);
  if (version != 1)
    fields.fail("version", fmt::format("is {}; this program reads version 1 of its planes", version));
  check_group_size(fields);
  return result;
}

// '*' stands for any text, as in ModelOpt's exclude_modules.
bool wildcard(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (pattern[p] == text[t] || pattern[p] == '?')) {
      ++p, ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace

bool Quantization::ignores(std::string_view module) const {
  for (const std::string& pattern : ignore) {
    if (pattern == module) return true;
    if (layout == Layout::compressed_tensors) {
      if (!pattern.starts_with("re:")) continue;
      const text::Regex regex("^(?:" + pattern.substr(3) + ")");
      if (text::Matcher(regex).find(module, 0)) return true;
    } else {
      if (wildcard(pattern, module)) return true;
      // A parent module stands for everything below it.
      if (module.starts_with(pattern) && module.size() > pattern.size() && module[pattern.size()] == '.')
        return true;
    }
  }
  return false;
}

Quantization read_quantization(const fs::path& directory) {
  Quantization result;
  std::error_code failed;
  const fs::path config = directory / "config.json";
  if (fs::exists(config, failed)) {
    const json whole = io::read_json(config);
    const Fields fields(whole, config.string());
    if (const auto quantization = fields.object("quantization_config")) {
      const std::string method = quantization->string("quant_method").value_or("");
      if (method == "compressed-tensors") {
        result = read_compressed_tensors(*quantization);
      } else if (method == "modelopt") {
        result = read_modelopt(*quantization, "ignore", "kv_cache_scheme");
      } else if (method == "tetrad") {
        result = read_tetrad(*quantization);
      } else {
        quantization->fail("quant_method",
                           fmt::format("is {}; compressed-tensors, modelopt and tetrad are read",
                                       method.empty() ? "missing" : printable(method)));
      }
      result.stated_in = config;
      return result;
    }
  }
  const fs::path own = directory / "hf_quant_config.json";
  if (fs::exists(own, failed)) {
    const json whole = io::read_json(own);
    const Fields fields(whole, own.string());
    const auto quantization = fields.object("quantization");
    if (!quantization) fields.missing("quantization");
    result = read_modelopt(*quantization, "exclude_modules", "kv_cache_quant_algo");
    result.stated_in = own;
  }
  return result;
}

json quantization_config(Layout layout, bool activations, const std::vector<std::string>& dense_modules) {
  if (layout == Layout::tetrad)
    return {
        {"quant_method", "tetrad"}, {"format", "nvfp4-planes"}, {"version", 1}, {"group_size", group_size}};
  if (layout == Layout::compressed_tensors) {
    const json weights = {{"num_bits", 4},
                          {"type", "float"},
                          {"strategy", "tensor_group"},
                          {"group_size", group_size},
                          {"symmetric", true},
                          {"dynamic", false},
                          {"scale_dtype", "torch.float8_e4m3fn"}};
    json inputs = nullptr;
    if (activations) {
      inputs = weights;
      inputs["dynamic"] = "local";
      inputs["observer"] = "static_minmax";
    }
    return {{"quant_method", "compressed-tensors"},
            {"format", packed_format},
            {"quantization_status", "compressed"},
            {"ignore", dense_modules},
            {"kv_cache_scheme", nullptr},
            {"global_compression_ratio", nullptr},
            {"config_groups",
             {{"group_0",
               {{"targets", {"Linear"}},
                {"weights", weights},
                {"input_activations", inputs},
                {"output_activations", nullptr},
                {"format", packed_format}}}}}};
  }
  if (layout == Layout::modelopt) {
    const json args = {{"dynamic", false}, {"num_bits", 4}, {"type", "float"}, {"group_size", group_size}};
    json group = {{"weights", args}, {"targets", {"Linear"}}};
    if (activations) group["input_activations"] = args;
    return {{"quant_method", "modelopt"},
            {"quant_algo", activations ? "NVFP4" : "W4A16_NVFP4"},
            {"config_groups", {{"group_0", group}}},
            {"ignore", dense_modules},
            {"producer", {{"name", "tetrad"}}}};
  }
  return nullptr;
}

json modelopt_quant_config(bool activations, const std::vector<std::string>& dense_modules) {
  return {{"producer", {{"name", "tetrad"}}},
          {"quantization",
           {{"quant_algo", activations ? "NVFP4" : "W4A16_NVFP4"},
            {"kv_cache_quant_algo", nullptr},
            {"group_size", group_size},
            {"exclude_modules", dense_modules}}}};
}

}  // namespace tetrad::checkpoint
