#include "plugin/metadata.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "sdk/base/printable.h"

namespace tetrad::plugin {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 32;

[[noreturn]] void refuse(const std::string& text) {
  throw Error(ExitCode::plugin_refused, "metadata: " + printable(text, 1000));
}

// The member of an object, of a given type, or a refusal that names it.
const json& member(const json& object, std::string_view where, const char* key, json::value_t type) {
  const auto at = object.find(key);
  if (at == object.end()) refuse(fmt::format("{}{} is missing", where, key));
  if (at->type() != type) {
    refuse(
        fmt::format("{}{} must be a JSON {}, not {}", where, key, json(type).type_name(), at->type_name()));
  }
  return *at;
}

std::string text_member(const json& object, std::string_view where, const char* key) {
  return member(object, where, key, json::value_t::string).get<std::string>();
}

std::string optional_text(const json& object, std::string_view where, const char* key) {
  return object.contains(key) ? text_member(object, where, key) : std::string();
}

bool valid_id(const std::string& id) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !id.empty() && id.size() <= 64 && plain(id[0]) && std::all_of(id.begin(), id.end(), [&](char c) {
    return plain(c) || c == '-' || c == '_' || c == '.';
  });
}

bool one_of(const std::string& text, std::initializer_list<const char*> values) {
  return std::any_of(values.begin(), values.end(), [&](const char* v) { return text == v; });
}

// Whether a default (or bound) has the option's type.
bool has_type(const json& value, const std::string& type) {
  if (type == "bool") return value.is_boolean();
  if (type == "int") {
    return value.is_number_integer() &&
           (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX);
  }
  if (type == "number") return value.is_number() && std::isfinite(value.get<double>());
  return value.is_string();
}

void check_option(const json& option, const std::string& where) {
  if (!option.is_object()) refuse(where + " must be a JSON object");
  const std::string dot = where + ".";
  if (text_member(option, dot, "key").empty()) refuse(dot + "key is empty");
  const std::string type = text_member(option, dot, "type");
  if (!one_of(type, {"bool", "int", "number", "string", "enum"})) {
    refuse(fmt::format("{}type '{}' is not bool, int, number, string or enum", dot, type));
  }
  optional_text(option, dot, "doc");
  optional_text(option, dot, "kind");
  const bool numeric = type == "int" || type == "number";
  for (const char* bound : {"min", "max"}) {
    const auto at = option.find(bound);
    if (at != option.end() && !(numeric && has_type(*at, type)))
      refuse(fmt::format("{}{} does not fit type {}", dot, bound, type));
  }
  if ((type == "enum") != option.contains("values"))
    refuse(fmt::format("{}values belongs to type enum, and to it alone", dot));
  if (type == "enum") {
    const json& values = member(option, dot, "values", json::value_t::array);
    if (values.empty() ||
        !std::all_of(values.begin(), values.end(), [](const json& v) { return v.is_string(); })) {
      refuse(dot + "values must be a list of strings");
    }
  }
  const auto preset = option.find("default");
  if (preset == option.end()) return;
  if (!has_type(*preset, type)) refuse(fmt::format("{}default does not fit type {}", dot, type));
  if (type == "enum" &&
      std::find(option["values"].begin(), option["values"].end(), *preset) == option["values"].end()) {
    refuse(dot + "default is not one of its values");
  }
  if ((option.contains("min") && *preset < option["min"]) ||
      (option.contains("max") && *preset > option["max"])) {
    refuse(dot + "default is outside min and max");
  }
}

void check_options(const json& options) {
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < options.size(); ++i) {
    const std::string where = fmt::format("options[{}]", i);
    check_option(options[i], where);
    const std::string name = options[i].value("kind", "") + "/" + options[i]["key"].get<std::string>();
    if (std::find(seen.begin(), seen.end(), name) != seen.end())
      refuse(fmt::format("{}.key '{}' appears twice", where, options[i]["key"].get<std::string>()));
    seen.push_back(name);
  }
}

void check_capabilities(const json& capabilities) {
  for (std::size_t i = 0; i < capabilities.size(); ++i) {
    const std::string dot = fmt::format("capabilities[{}].", i);
    if (!capabilities[i].is_object()) refuse(fmt::format("capabilities[{}] must be a JSON object", i));
    const std::string device = text_member(capabilities[i], dot, "device");
    if (!one_of(device, {"cpu", "cuda"}))
      refuse(fmt::format("{}device '{}' is not cpu or cuda", dot, device));
    const std::string support = text_member(capabilities[i], dot, "support");
    if (!one_of(support, {"native", "emulated", "unsupported"})) {
      refuse(fmt::format("{}support '{}' is not native, emulated or unsupported", dot, support));
    }
    const auto compute = capabilities[i].find("compute");
    if (compute != capabilities[i].end() && !compute->is_string() && !compute->is_array())
      refuse(dot + "compute must be a text or a list");
    optional_text(capabilities[i], dot, "reason");
  }
}

// The short form, one object for several devices, as the list that it stands for.
json capability_list(const json& plugin) {
  const auto found = plugin.find("capabilities");
  if (found == plugin.end()) return json::array();
  if (!found->is_object()) return member(plugin, "", "capabilities", json::value_t::array);
  json list = json::array();
  for (const json& device : member(*found, "capabilities.", "devices", json::value_t::array)) {
    json claim = *found;
    claim.erase("devices");
    claim["device"] = device;
    if (!claim.contains("support")) claim["support"] = "native";
    list.push_back(std::move(claim));
  }
  return list;
}

// What a linear backend's stored weight is to the parameter's values.
void check_weights(const json& numerics) {
  if (!numerics.contains("weights")) return;
  const json& weights = member(numerics, "numerics.", "weights", json::value_t::object);
  const std::string where = "numerics.weights.";
  const std::string reference = text_member(weights, where, "reference");
  if (!one_of(reference, {"dense", "nvfp4"}))
    refuse(fmt::format("{}reference '{}' is not dense or nvfp4", where, reference));
  const auto bound = weights.find("bound");
  if (bound != weights.end() && !(bound->is_number() && bound->get<double>() >= 0))
    refuse(where + "bound must be a number >= 0");
  const auto group = weights.find("group");
  if (group != weights.end() && *group != "row" && *group != "tensor" &&
      !(group->is_number_integer() && *group > 0)) {
    refuse(where + "group must be 'row', 'tensor' or a number of columns");
  }
  const std::string profile = optional_text(weights, where, "profile");
  if (!profile.empty() && !one_of(profile, {"te", "torchao_inference", "modelopt", "compressed_tensors"}))
    refuse(fmt::format("{}profile '{}' is not te, torchao_inference, modelopt or compressed_tensors", where,
                       profile));
  const std::string global = optional_text(weights, where, "global_scale");
  if (!global.empty() && !one_of(global, {"power_of_two", "exact"}))
    refuse(fmt::format("{}global_scale '{}' is not power_of_two or exact", where, global));
}

void check_numerics(const json& numerics) {
  const auto deterministic = numerics.find("deterministic");
  if (deterministic != numerics.end() && !deterministic->is_boolean() && !deterministic->is_string()) {
    refuse("numerics.deterministic must be a boolean or a text");
  }
  optional_text(numerics, "numerics.", "accumulation");
  optional_text(numerics, "numerics.", "rounding");
  check_weights(numerics);
  if (!numerics.contains("bounds")) return;
  for (const auto& [dtype, bound] : member(numerics, "numerics.", "bounds", json::value_t::object).items()) {
    if (!bound.is_number() || !(bound.get<double>() >= 0))
      refuse(fmt::format("numerics.bounds.{} must be a number >= 0", dtype));
  }
}

Fingerprint parse_fingerprint(const json& fields) {
  const std::string where = "fingerprint.";
  for (const char* key :
       {"interface_hash", "build_type", "sanitizers", "machine", "compiler", "cxx_library"}) {
    member(fields, where, key, json::value_t::string);
  }
  for (const char* key :
       {"pointer_bits", "compiler_major", "compiler_minor", "cxx_abi", "cxx_library_release",
        "cxx_library_debug", "cxx11_abi", "exceptions", "rtti", "asan", "tsan"}) {
    member(fields, where, key, json::value_t::number_unsigned);
  }
  const auto torch = fields.find("torch_version");
  if (torch == fields.end() || !(torch->is_null() || torch->is_string()))
    refuse("fingerprint.torch_version must be a string or null");
  const auto cuda = fields.find("cuda");
  if (cuda == fields.end() || !(cuda->is_null() || cuda->is_object()))
    refuse("fingerprint.cuda must be an object or null");
  if (cuda->is_object()) {
    member(*cuda, "fingerprint.cuda.", "version", json::value_t::string);
    member(*cuda, "fingerprint.cuda.", "architectures", json::value_t::string);
  }
  return Fingerprint{fields};
}

// People read these texts on a terminal, which must not take them for commands.
void check_texts(const json& value) {
  const auto check = [](const std::string& text) {
    if (text != printable(text, text.size() + 1, Newlines::keep))
      refuse(fmt::format("a control character in '{}'", text));
  };
  if (value.is_string()) check(value.get_ref<const std::string&>());
  if (!value.is_structured()) return;
  for (const auto& [key, item] : value.items()) {
    if (value.is_object()) check(key);
    check_texts(item);
  }
}

json parse_text(const std::string& note) {
  const json::parser_callback_t bounded = [](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) refuse(fmt::format("nested deeper than {} levels", kMaxDepth));
    return true;
  };
  try {
    return json::parse(note, bounded);
  } catch (const json::exception& e) {
    refuse(fmt::format("not JSON: {}", json_problem(e.what())));
  }
}

}  // namespace

bool Metadata::has_kind(std::string_view kind) const {
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

json Metadata::options_for(std::string_view kind) const {
  json result = json::array();
  for (const json& option : options) {
    const auto only = option.find("kind");
    if (only == option.end() || *only == kind) result.push_back(option);
  }
  return result;
}

json Metadata::to_json() const {
  return {{"plugin", plugin}, {"fingerprint", fingerprint.fields}};
}

Metadata parse_metadata(const std::string& note) {
  const json document = parse_text(note);
  if (!document.is_object()) refuse("must be a JSON object");
  check_texts(document);
  if (document.value("note", json()) != 1)
    refuse("its format is " + document.value("note", json()).dump() + ", this host reads 1");
  Metadata result;
  result.plugin = member(document, "", "plugin", json::value_t::object);
  const json& plugin = result.plugin;
  result.id = text_member(plugin, "", "id");
  if (!valid_id(result.id))
    refuse(
        "id may hold a-z, 0-9, '-', '_' and '.', starts with a letter or digit, and has at most 64 "
        "characters");
  result.version = text_member(plugin, "", "version");
  result.description = optional_text(plugin, "", "description");
  result.licence = optional_text(plugin, "", "licence");
  for (const json& kind : member(plugin, "", "kinds", json::value_t::array)) {
    if (!kind.is_string()) refuse("kinds must be a list of strings");
    result.kinds.push_back(kind.get<std::string>());
  }
  if (result.kinds.empty()) refuse("kinds is empty");
  if (plugin.contains("options")) result.options = member(plugin, "", "options", json::value_t::array);
  result.capabilities = capability_list(plugin);
  if (plugin.contains("numerics")) result.numerics = member(plugin, "", "numerics", json::value_t::object);
  check_options(result.options);
  check_capabilities(result.capabilities);
  check_numerics(result.numerics);
  result.fingerprint = parse_fingerprint(member(document, "", "fingerprint", json::value_t::object));
  return result;
}

}  // namespace tetrad::plugin
