#include "plugin/commands.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <tetrad/base/plugin_abi.h>

#include <algorithm>
#include <ostream>

namespace tetrad::plugin {
namespace {

using nlohmann::json;

// File names need not be UTF-8; JSON must be.
void print(std::ostream& out, const json& document) {
  out << document.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
}

std::string verdict(const Candidate& candidate) {
  if (!candidate.refusal.empty()) return "refused";
  return candidate.shadow.empty() ? "usable" : "shadowed";
}

std::string reason(const Candidate& candidate) {
  return candidate.refusal.empty() ? candidate.shadow : candidate.refusal;
}

std::string kinds_text(const Candidate& candidate) {
  return candidate.metadata ? fmt::format("{}", fmt::join(candidate.metadata->kinds, ",")) : "?";
}

json places_json(const Registry& registry) {
  json places = json::array();
  for (const Place& place : registry.places()) {
    places.push_back(
        {{"place", place_name(place.cls)}, {"folder", place.folder.string()}, {"note", place.note}});
  }
  return places;
}

// A value as people read it: texts without quotes.
std::string plain(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string list_text(const json& values) {
  std::string text;
  for (const json& value : values) text += (text.empty() ? "" : ", ") + plain(value);
  return text;
}

void print_option(std::ostream& out, const json& option) {
  std::string range;
  if (option.contains("min")) range += fmt::format(", at least {}", option["min"].dump());
  if (option.contains("max")) range += fmt::format(", at most {}", option["max"].dump());
  if (option.contains("values")) range += fmt::format(", one of {}", list_text(option["values"]));
  const std::string preset = option.contains("default") ? "default " + option["default"].dump() : "required";
  out << fmt::format("  {} ({}, {}{})\n", plain(option["key"]), plain(option["type"]), preset, range);
  if (option.contains("doc")) out << fmt::format("      {}\n", plain(option["doc"]));
}

void print_capability(std::ostream& out, const json& claim) {
  std::string text = fmt::format("  {}: {}", plain(claim["device"]), plain(claim["support"]));
  for (const auto& [key, value] : claim.items()) {
    if (key == "device" || key == "support") continue;
    text += fmt::format("; {} {}", key, value.is_array() ? list_text(value) : plain(value));
  }
  out << text << '\n';
}

void print_fingerprint(std::ostream& out, const Fingerprint& plugin) {
  const json& host = host_fingerprint().fields;
  for (const auto& [key, value] : plugin.fields.items()) {
    const bool differs = host.contains(key) && host[key] != value && key != "cuda";
    out << fmt::format("  {}: {}{}\n", key, plain(value),
                       differs ? fmt::format("  (host: {})", plain(host[key])) : "");
  }
}

void print_metadata(std::ostream& out, const Metadata& metadata) {
  out << fmt::format("plugin {} {}\n", metadata.id, metadata.version);
  if (!metadata.description.empty()) out << fmt::format("  {}\n", metadata.description);
  out << fmt::format("kinds: {}\n", fmt::join(metadata.kinds, ", "));
  if (!metadata.licence.empty()) out << fmt::format("licence: {}\n", metadata.licence);
  out << (metadata.options.empty() ? "options: none\n" : "options:\n");
  for (const json& option : metadata.options) print_option(out, option);
  if (!metadata.capabilities.empty()) out << "capabilities (claimed):\n";
  for (const json& claim : metadata.capabilities) print_capability(out, claim);
  if (!metadata.numerics.empty()) out << "numerics:\n";
  for (const auto& [key, value] : metadata.numerics.items())
    out << fmt::format("  {}: {}\n", key, plain(value));
  out << "fingerprint:\n";
  print_fingerprint(out, metadata.fingerprint);
}

void print_list(std::ostream& out, const char* title, const std::vector<std::string>& values) {
  out << fmt::format("{}: {}\n", title, values.empty() ? "none" : fmt::format("{}", fmt::join(values, ", ")));
}

// What `kind: {plugin: chosen}` makes of a candidate.
std::pair<std::string, std::string> judge_choice(const Candidate& candidate, const std::string& kind,
                                                 const std::optional<std::string>& chosen) {
  if (!candidate.refusal.empty()) return {"refused", candidate.refusal};
  if (!candidate.shadow.empty()) return {"shadowed", candidate.shadow};
  if (!candidate.metadata->has_kind(kind)) return {"other kind", "is of kind " + kinds_text(candidate)};
  if (!chosen) return {"usable", "may be named in a config"};
  if (is_path(*chosen)) return {"not chosen", "the config names the file " + *chosen};
  if (candidate.id != *chosen) return {"not chosen", fmt::format("the config names '{}'", *chosen)};
  return {"chosen", fmt::format("the config names it; first in {}", place_name(candidate.place))};
}

}  // namespace

json candidate_json(const Candidate& candidate) {
  json result = {{"id", candidate.id},
                 {"file", candidate.file.string()},
                 {"place", place_name(candidate.place)},
                 {"verdict", verdict(candidate)},
                 {"reason", reason(candidate)},
                 {"warnings", candidate.warnings},
                 {"build_id", candidate.build_id}};
  if (candidate.metadata) {
    result["version"] = candidate.metadata->version;
    result["kinds"] = candidate.metadata->kinds;
    result["description"] = candidate.metadata->description;
    result["licence"] = candidate.metadata->licence;
  }
  if (candidate.cuda_file) {
    result["cuda_file"] = candidate.cuda_file->string();
    result["cuda_reason"] = candidate.cuda_refusal;
  }
  return result;
}

int command_list(const Registry& registry, std::ostream& out, bool as_json) {
  if (as_json) {
    json plugins = json::array();
    for (const Candidate& candidate : registry.candidates()) plugins.push_back(candidate_json(candidate));
    print(out, {{"plugins", plugins}, {"places", places_json(registry)}});
    return 0;
  }
  std::size_t id_width = 2;
  std::size_t kind_width = 5;
  for (const Candidate& candidate : registry.candidates()) {
    id_width = std::max(id_width, candidate.id.size());
    kind_width = std::max(kind_width, kinds_text(candidate).size());
  }
  if (!registry.candidates().empty())
    out << fmt::format("{:<{}}  {:<{}}  {:<9}  {:<9} file\n", "id", id_width, "kinds", kind_width, "version",
                       "verdict");
  for (const Candidate& candidate : registry.candidates()) {
    out << fmt::format("{:<{}}  {:<{}}  {:<9}  {:<9} {}\n", candidate.id, id_width, kinds_text(candidate),
                       kind_width, candidate.metadata ? candidate.metadata->version : "?", verdict(candidate),
                       candidate.file.string());
    if (!reason(candidate).empty()) out << fmt::format("    {}\n", reason(candidate));
    for (const std::string& warning : candidate.warnings) out << fmt::format("    warning: {}\n", warning);
    if (candidate.cuda_file) {
      out << fmt::format("    CUDA half: {}{}\n", candidate.cuda_file->filename().string(),
                         candidate.cuda_refusal.empty() ? "" : ": refused: " + candidate.cuda_refusal);
    }
  }
  out << registry.places_text() << '\n';
  return 0;
}

int command_inspect(const Registry& registry, const std::string& id_or_path, std::ostream& out,
                    bool as_json) {
  const Candidate candidate = registry.locate(id_or_path);
  const ElfImage image = read_elf(candidate.file, ElfDetail::symbols);
  if (as_json) {
    json document = candidate_json(candidate);
    document["elf"] = {{"problem", image.problem},   {"machine", image.machine},
                       {"needed", image.needed},     {"run_path", image.run_path},
                       {"exported", image.exported}, {"imported", image.imported.size()}};
    if (candidate.metadata) {
      document["plugin"] = candidate.metadata->plugin;
      document["fingerprint"] = candidate.metadata->fingerprint.fields;
    }
    document["host_fingerprint"] = host_fingerprint().fields;
    print(out, document);
    return 0;
  }
  if (candidate.metadata) {
    print_metadata(out, *candidate.metadata);
  } else {
    out << "metadata: cannot be read\n";
  }
  out << fmt::format("file: {}\nbuild id: {}\n", candidate.file.string(),
                     candidate.build_id.empty() ? "none" : candidate.build_id);
  out << fmt::format("machine: {}\n", image.machine.empty() ? "unknown" : image.machine);
  print_list(out, "needs", image.needed);
  print_list(out, "exports", image.exported);
  if (!image.exported.empty() &&
      std::find(image.exported.begin(), image.exported.end(), kPluginEntry) == image.exported.end()) {
    out << fmt::format("warning: it does not export {}: load would fail\n", kPluginEntry);
  }
  if (candidate.cuda_file) {
    out << fmt::format("CUDA half: {}{}\n", candidate.cuda_file->string(),
                       candidate.cuda_refusal.empty() ? "" : ": refused: " + candidate.cuda_refusal);
  }
  for (const std::string& warning : candidate.warnings) out << fmt::format("warning: {}\n", warning);
  out << fmt::format("verdict: {}{}\n", verdict(candidate),
                     reason(candidate).empty() ? "" : ": " + reason(candidate));
  return 0;
}

int command_why(const Registry& registry, const std::string& kind, const std::optional<std::string>& chosen,
                std::ostream& out, bool as_json) {
  std::vector<std::string> kinds;
  for (const Candidate& candidate : registry.candidates()) {
    if (!candidate.metadata) continue;
    for (const std::string& k : candidate.metadata->kinds) {
      if (std::find(kinds.begin(), kinds.end(), k) == kinds.end()) kinds.push_back(k);
    }
  }
  if (!registry.candidates().empty() && std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
    std::sort(kinds.begin(), kinds.end());
    throw Error(ExitCode::usage,
                fmt::format("[plugin] no candidate is of kind '{}'; kinds found: {}", kind,
                            kinds.empty() ? "none" : fmt::format("{}", fmt::join(kinds, ", "))));
  }
  json answers = json::array();
  for (const Candidate& candidate : registry.candidates()) {
    const auto [answer, why] = judge_choice(candidate, kind, chosen);
    json entry = candidate_json(candidate);
    entry["answer"] = answer;
    entry["why"] = why;
    if (candidate.metadata) entry["capabilities"] = candidate.metadata->capabilities;
    answers.push_back(std::move(entry));
  }
  if (as_json) {
    print(out, {{"kind", kind},
                {"chosen", chosen ? json(*chosen) : json(nullptr)},
                {"candidates", answers},
                {"places", places_json(registry)}});
    return 0;
  }
  out << fmt::format("kind {}{}\n", kind, chosen ? fmt::format(", the config names '{}'", *chosen) : "");
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const Candidate& candidate = registry.candidates()[i];
    out << fmt::format("  {} (file {}): {}: {}\n", candidate.id, candidate.file.string(),
                       plain(answers[i]["answer"]), plain(answers[i]["why"]));
    if (candidate.metadata && candidate.metadata->has_kind(kind)) {
      for (const json& claim : candidate.metadata->capabilities) {
        out << "  ";
        print_capability(out, claim);
      }
    }
  }
  if (answers.empty()) out << "  no candidates\n";
  out << registry.places_text() << '\n';
  return 0;
}

}  // namespace tetrad::plugin
