#include "parity/plan/differ.h"

#include "config/tree.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

namespace tetrad::parity {

using nlohmann::json;

namespace {

bool is_below(std::string_view key, std::string_view section) {
  return key == section ||
         (key.size() > section.size() && key.starts_with(section) && key[section.size()] == '.');
}

template <std::size_t n>
bool is_below_any(std::string_view key, const std::array<std::string_view, n>& sections) {
  return std::any_of(sections.begin(), sections.end(), [&](auto section) { return is_below(key, section); });
}

bool trains(const json& config) {
  return config.at("parity").at("train_steps").get<std::int64_t>() > 0;
}

bool talks_of_chat(const json& config) {
  return config.at("parity").at("prompts").empty();
}

bool is_file(const json& config) {
  return config.at("parity").at("logits_file").is_string();
}

// Whether a key can change what an arm computes.
bool matters(std::string_view key, const json& a, const json& b) {
  constexpr std::array<std::string_view, 16> never = {"task",
                                                      "pin",
                                                      "plugins",
                                                      "guard",
                                                      "run.dir",
                                                      "bench",
                                                      "eval",
                                                      "parity.sweep",
                                                      "parity.reference",
                                                      "parity.against",
                                                      "parity.tolerance",
                                                      "parity.self_noise_factor",
                                                      "parity.repeats",
                                                      "parity.top_k",
                                                      "parity.iterations",
                                                      "parity.layers"};
  if (is_below_any(key, never)) return false;
  if (is_below_any(key, std::array<std::string_view, 2>{"train", "optimizer"})) return trains(a) || trains(b);
  if (is_below_any(key, std::array<std::string_view, 3>{"chat.prompt", "chat.followup_prompt", "chat.turns"}))
    return talks_of_chat(a) || talks_of_chat(b);
  if (is_below(key, "chat")) return key == "chat.system" || key == "chat.ignore_eos";
  return true;
}

bool is_subject(std::string_view key, const Subject& subject) {
  constexpr std::string_view plugin = ".plugin";
  const bool swept = std::any_of(subject.swept.begin(), subject.swept.end(), [&](const std::string& own) {
    if (is_below(key, own)) return true;
    // Another plugin has other options.
    return own.ends_with(plugin) && is_below(key, own.substr(0, own.size() - plugin.size()) + ".options");
  });
  if (swept || !subject.several_configs) return swept;
  constexpr std::array<std::string_view, 10> numerics = {
      "path",         "linear",      "kv_cache",          "optimizer",   "model.dtype",
      "model.device", "run.threads", "run.deterministic", "parity.feed", "model.prefill_chunk"};
  return is_below_any(key, numerics);
}

void collect(const json& a, const json& b, const std::string& path, std::vector<Difference>& found) {
  const bool maps =
      (a.is_object() || a.is_null()) && (b.is_object() || b.is_null()) && !(a.is_null() && b.is_null());
  if (!maps) {
    if (a != b) found.push_back({path, a, b, false});
    return;
  }
  std::set<std::string> keys;
  for (const json* side : {&a, &b}) {
    if (!side->is_object()) continue;
    for (const auto& item : side->items()) keys.insert(item.key());
  }
  const auto value = [](const json& side, const std::string& key) {
    const auto at = side.is_object() ? side.find(key) : side.end();
    return side.is_object() && at != side.end() ? *at : json();
  };
  for (const std::string& key : keys)
    collect(value(a, key), value(b, key), config::join_path(path, key), found);
}

}  // namespace

std::vector<Difference> differing_keys(const json& reference, const json& arm, const Subject& subject) {
  std::vector<Difference> found;
  if (is_file(reference) || is_file(arm)) {
    const json& a = reference.at("parity").at("logits_file");
    const json& b = arm.at("parity").at("logits_file");
    if (a != b) found.push_back({"parity.logits_file", a, b, true});
    return found;
  }
  collect(reference, arm, "", found);
  std::erase_if(found, [&](const Difference& d) { return !matters(d.key, reference, arm); });
  for (Difference& difference : found) difference.swept = is_subject(difference.key, subject);
  return found;
}

}  // namespace tetrad::parity
