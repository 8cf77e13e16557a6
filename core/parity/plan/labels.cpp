#include "parity/plan/labels.h"

#include <fmt/format.h>
#include <algorithm>
#include <filesystem>
#include <map>
#include <string_view>

namespace tetrad::parity {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t longest_slug = 48;
constexpr std::size_t longest_value = 40;

// "linear.plugin" is about the section, "linear.options.eval_cache" about the option.
std::string without_plumbing(std::string key) {
  constexpr std::string_view plugin = ".plugin";
  constexpr std::string_view options = ".options.";
  if (key.ends_with(plugin)) key.resize(key.size() - plugin.size());
  if (const std::size_t at = key.find(options); at != std::string::npos) key.replace(at, options.size(), ".");
  return key;
}

// The key's last `parts` words.
std::string tail(const std::string& key, std::size_t parts) {
  std::size_t at = key.size();
  for (; parts > 0 && at != std::string::npos; --parts)
    at = at == 0 ? std::string::npos : key.rfind('.', at - 1);
  return at == std::string::npos ? key : key.substr(at + 1);
}

std::map<std::string, std::string> short_names(const std::vector<Named>& arms) {
  std::map<std::string, std::string> names;
  for (const Named& arm : arms) {
    for (const Assignment& a : arm.combination.values) names.emplace(a.key, "");
  }
  // No structured bindings here: clang 14, which builds the fuzz targets, cannot capture one.
  for (auto& entry : names) {
    const std::string& key = entry.first;
    const std::string own = without_plumbing(key);
    std::size_t parts = 1;
    const auto taken = [&] {
      return std::any_of(names.begin(), names.end(), [&](const auto& other) {
        const std::string theirs = without_plumbing(other.first);
        return other.first != key && tail(theirs, parts) == tail(own, parts) && theirs != own;
      });
    };
    while (taken() && tail(own, parts) != own) ++parts;
    entry.second = tail(own, parts);
  }
  return names;
}

std::string value_text(const Assignment& assignment) {
  std::string text = assignment.value.is_string()
                         ? assignment.value.get<std::string>()
                         : assignment.value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (assignment.key == "parity.logits_file" || assignment.key == "model.path" ||
      assignment.key == "model.weights")
    text = fs::path(text).filename().string();
  if (text.size() > longest_value) {
    std::size_t cut = longest_value - 3;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U)
      --cut;  // not inside a character
    text = text.substr(0, cut) + "...";
  }
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
  return text;
}

}  // namespace

std::vector<std::string> make_labels(const std::vector<Named>& arms) {
  const std::map<std::string, std::string> names = short_names(arms);
  std::map<std::string, std::string> stems;  // file -> its stem, or the whole where two files share one
  for (const Named& arm : arms) stems[arm.config_file] = fs::path(arm.config_file).stem().string();
  for (auto& entry : stems) {
    const std::string& file = entry.first;
    const bool shared = std::count_if(stems.begin(), stems.end(), [&](const auto& other) {
                          return fs::path(other.first).stem() == fs::path(file).stem();
                        }) > 1;
    if (shared) entry.second = file;
  }
  std::vector<std::string> labels;
  std::map<std::string, int> seen;
  for (const Named& arm : arms) {
    std::string label = arm.combination.label;
    if (label.empty()) {
      if (!arm.config_file.empty()) label = stems.at(arm.config_file);
      for (const Assignment& a : arm.combination.values)
        label += fmt::format("{}{}={}", label.empty() ? "" : " ", names.at(a.key), value_text(a));
      if (label.empty()) label = "as configured";
    }
    const int number = ++seen[label];
    labels.push_back(number == 1 ? label : fmt::format("{} #{}", label, number));
  }
  return labels;
}

std::string make_slug(std::size_t index, const std::string& label) {
  std::string slug;
  // "path=training feed=whole": the keys say nothing that the plan does not.
  std::string rest = label.find('=') == std::string::npos ? label : "";
  if (rest.empty()) {
    for (std::size_t at = 0; at <= label.size();) {
      const std::size_t end = std::min(label.find(' ', at), label.size());
      const std::string word = label.substr(at, end - at);
      const std::size_t equals = word.find('=');
      rest += (rest.empty() ? "" : "-") + (equals == std::string::npos ? word : word.substr(equals + 1));
      at = end + 1;
    }
  }
  for (const char c : rest) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_';
    if (plain) {
      slug += c;
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
  }
  slug = slug.substr(0, longest_slug);
  while (!slug.empty() && slug.back() == '-') slug.pop_back();
  return slug.empty() ? fmt::format("{:02}", index) : fmt::format("{:02}-{}", index, slug);
}

}  // namespace tetrad::parity
