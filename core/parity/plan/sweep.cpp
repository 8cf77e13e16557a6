#include "parity/plan/sweep.h"

#include "config/emit.h"
#include "config/environment.h"
#include "config/scalar.h"
#include "config/schema.h"
#include "config/suggest.h"
#include "config/yaml_reader.h"

#include <tetrad/base/error.h>

#include <fmt/format.h>
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

namespace tetrad::parity {

using config::Diagnostics;
using config::Entry;
using config::Kind;
using config::Node;
using nlohmann::json;

namespace {

constexpr const char* label_key = "label";

// Keys that say how the comparison is made, not what is compared.
bool is_of_the_whole(std::string_view key) {
  for (const std::string_view own :
       {"parity.sweep", "parity.reference", "parity.tolerance", "parity.self_noise_factor", "run.dir", "task",
        "pin", "extends", "plugins"}) {
    if (key == own || (key.starts_with(own) && key[own.size()] == '.')) return true;
  }
  return false;
}

// What is wrong with a key; "" when it can be swept.
std::string problem_of(const std::string& key) {
  if (is_of_the_whole(key)) return fmt::format("'{}' belongs to all arms and cannot be swept", key);
  std::string_view rest;
  const config::Field* field = config::find_field(config::core_schema(), key, &rest);
  if (field != nullptr && !key.empty()) return "";
  return fmt::format("unknown key {}{}", config::quoted_for_message(key),
                     config::did_you_mean(key, config::all_paths(config::core_schema())));
}

bool takes_map(const std::string& key) {
  std::string_view rest;
  const config::Field* field = config::find_field(config::core_schema(), key, &rest);
  return field != nullptr && rest.empty() &&
         (field->type == config::Type::section || field->type == config::Type::options);
}

class Reader {
 public:
  explicit Reader(Diagnostics& diagnostics) : diagnostics_(diagnostics) {}

  Sweep read(const Node& node) {
    Sweep sweep;
    const Node whole = plain(node);
    if (whole.kind() == Kind::invalid) return sweep;
    if (!whole.is_map()) {
      error(whole, "parity.sweep: expected a map with matrix, zip, include or exclude");
      return sweep;
    }
    for (const Entry& entry : whole.entries()) {
      const Node value = plain(entry.value);
      if (value.kind() == Kind::invalid) continue;
      if (entry.key == "matrix" || entry.key == "zip") {
        (entry.key == "matrix" ? sweep.matrix : sweep.zip) = axes(value, "parity.sweep." + entry.key);
      } else if (entry.key == "include") {
        for (const Node& item : maps(value, "parity.sweep.include")) sweep.include.push_back(included(item));
      } else if (entry.key == "exclude") {
        for (const Node& item : maps(value, "parity.sweep.exclude")) {
          Combination excluded = included(item);
          if (excluded.values.empty()) error(item, "parity.sweep.exclude: {} would leave out every arm");
          sweep.exclude.push_back(std::move(excluded.values));
        }
      } else {
        const std::vector<std::string> keys = {"matrix", "zip", "include", "exclude"};
        diagnostics_.error(
            entry.key_origin,
            fmt::format("unknown key {} in parity.sweep{}; it takes matrix, zip, include, exclude",
                        config::quoted_for_message(entry.key), config::did_you_mean(entry.key, keys)));
      }
    }
    check_together(sweep, whole);
    return sweep;
  }

 private:
  void error(const Node& node, std::string message) { diagnostics_.error(node.origin(), std::move(message)); }

  // A value that is still text from the command line or the environment, read as YAML.
  Node plain(const Node& node) {
    if (!node.typed_by_schema()) return node;
    const std::string text(config::trimmed(node.as_string()));
    Diagnostics problems;
    if (node.origin().environment || text.empty()) {
      std::string problem;
      return config::plain_scalar(text, node.origin(), problem);
    }
    Node value = config::read_yaml(text, node.origin(), problems);
    if (!problems.has_errors()) return value;
    diagnostics_.append(problems);
    return Node::invalid(node.origin(), text);
  }

  std::vector<Node> maps(const Node& node, const char* path) {
    if (node.kind() != Kind::list) {
      error(node, fmt::format("{}: expected a list of maps, got {}", path, config::kind_name(node.kind())));
      return {};
    }
    std::vector<Node> result;
    for (const Node& raw : node.items()) {
      Node item = plain(raw);
      if (item.kind() == Kind::invalid) continue;
      if (item.is_map()) {
        result.push_back(std::move(item));
      } else {
        error(item, fmt::format("{}: expected a map of key to value, got {}", path,
                                config::kind_name(item.kind())));
      }
    }
    return result;
  }

  bool good_key(const Entry& entry, const std::string& key) {
    const std::string problem = problem_of(key);
    if (problem.empty()) return true;
    diagnostics_.error(entry.key_origin, problem);
    return false;
  }

  // Nested maps are taken as dotted keys: {parity: {feed: [a, b]}} is {parity.feed: [a, b]}.
  std::vector<Axis> axes(const Node& node, const std::string& place) {
    std::vector<Axis> result;
    if (!node.is_map()) {
      error(node, fmt::format("{}: expected a map of key to list of values, got {}", place,
                              config::kind_name(node.kind())));
      return result;
    }
    collect_axes(node, "", place, result);
    return result;
  }

  void collect_axes(const Node& node, const std::string& parent, const std::string& place,
                    std::vector<Axis>& result) {
    for (const Entry& entry : node.entries()) {
      const std::string key = config::join_path(parent, entry.key);
      const Node value = plain(entry.value);
      if (value.kind() == Kind::invalid) continue;
      if (value.is_map() && !value.entries().empty()) {
        collect_axes(value, key, place, result);
        continue;
      }
      if (!good_key(entry, key)) continue;
      if (value.kind() != Kind::list || value.items().empty()) {
        error(value, fmt::format("{}.{}: expected a list of at least one value, such as {}: [a, b]", place,
                                 key, key));
        continue;
      }
      Axis axis{key, {}};
      for (const Node& item : value.items()) {
        const Node each = plain(item);
        if (each.kind() == Kind::invalid) continue;
        if (each.is_map() && !takes_map(key)) {
          error(each, fmt::format("{}.{}: a value of this key is no map", place, key));
          continue;
        }
        axis.values.push_back(config::to_json(each));
      }
      if (axis.values.empty()) continue;
      const bool twice =
          std::any_of(result.begin(), result.end(), [&](const Axis& a) { return a.key == key; });
      if (twice) diagnostics_.error(entry.key_origin, fmt::format("{}: '{}' stands twice", place, key));
      if (!twice) result.push_back(std::move(axis));
    }
  }

  Combination included(const Node& node) {
    Combination arm;
    collect_values(node, "", arm);
    return arm;
  }

  void collect_values(const Node& node, const std::string& parent, Combination& arm) {
    for (const Entry& entry : node.entries()) {
      const std::string key = config::join_path(parent, entry.key);
      const Node value = plain(entry.value);
      if (value.kind() == Kind::invalid) continue;
      if (key == label_key) {
        if (value.kind() == Kind::string && !config::trimmed(value.as_string()).empty()) {
          arm.label = value.as_string();
        } else {
          error(value, "label: expected a text");
        }
      } else if (value.is_map() && !value.entries().empty()) {
        collect_values(value, key, arm);
      } else if (good_key(entry, key)) {
        arm.values.push_back({key, config::to_json(value)});
      }
    }
  }

  void check_together(const Sweep& sweep, const Node& node) {
    for (const Axis& axis : sweep.zip) {
      if (axis.values.size() == sweep.zip.front().values.size()) continue;
      error(node, fmt::format("parity.sweep.zip: '{}' has {} values and '{}' has {}; they must be as many",
                              sweep.zip.front().key, sweep.zip.front().values.size(), axis.key,
                              axis.values.size()));
    }
    for (const Axis& axis : sweep.zip) {
      for (const Axis& other : sweep.matrix) {
        if (axis.key == other.key)
          error(node, fmt::format("parity.sweep: '{}' stands in matrix and in zip", axis.key));
      }
    }
  }

  Diagnostics& diagnostics_;
};

bool matches(const Combination& arm, const std::vector<Assignment>& excluded) {
  return std::all_of(excluded.begin(), excluded.end(), [&](const Assignment& wanted) {
    return std::any_of(arm.values.begin(), arm.values.end(), [&](const Assignment& own) {
      return own.key == wanted.key && own.value == wanted.value;
    });
  });
}

std::uint64_t product(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  return b != 0 && a > most / b ? most : a * b;
}

}  // namespace

std::string Assignment::set_argument() const {
  if (!value.is_string()) return key + "=" + config::escape_references(value.dump());
  const auto& text = value.get_ref<const std::string&>();
  // Text that would be taken for something else is quoted.
  const bool awkward = text.empty() || text == "null" ||
                       std::string_view("\"'[{ \t").find(text.front()) != std::string_view::npos ||
                       text.back() == ' ' || text.back() == '\t' || text.find("${") != std::string::npos;
  if (!awkward) return key + "=" + text;
  const std::string quoted = config::escape_references(value.dump());
  return key + "=" + quoted;
}

Sweep read_sweep(const Node* node, Diagnostics& diagnostics) {
  if (node == nullptr || node->kind() == Kind::invalid) return {};
  return Reader(diagnostics).read(*node);
}

void add_sweep_argument(Sweep& sweep, std::string_view argument) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ExitCode::usage, fmt::format("[cli] --sweep {}: {}", argument, what));
  };
  const std::size_t equals = argument.find('=');
  const std::string key(config::trimmed(argument.substr(0, equals)));
  const std::string_view text =
      equals == std::string_view::npos ? "" : config::trimmed(argument.substr(equals + 1));
  if (text.empty()) refuse("expected KEY=VALUE,VALUE, such as parity.feed=whole,tokens");
  if (const std::string problem = problem_of(key); !problem.empty()) refuse(problem);
  const config::Origin origin = config::Origin::set(std::make_shared<const std::string>(argument), 1);
  Axis axis{key, {}};
  if (text.front() == '[') {
    Diagnostics problems;
    const Node list = config::read_yaml(text, origin, problems);
    if (problems.has_errors() || list.kind() != Kind::list || list.items().empty())
      refuse("this is not a YAML list of values");
    for (const Node& item : list.items()) axis.values.push_back(config::to_json(item));
  } else {
    for (std::string_view rest = text;;) {
      const std::size_t comma = rest.find(',');
      const std::string_view word = config::trimmed(rest.substr(0, comma));
      if (word.empty()) refuse("an empty value between commas");
      std::string problem;
      const Node value = config::plain_scalar(word, origin, problem);
      if (!problem.empty()) refuse(problem);
      axis.values.push_back(config::to_json(value));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  for (const Axis& other : sweep.zip) {
    if (other.key == key) refuse("the config's sweep.zip has this key");
  }
  for (Axis& other : sweep.matrix) {
    if (other.key != key) continue;
    other = std::move(axis);
    return;
  }
  sweep.matrix.push_back(std::move(axis));
}

std::uint64_t count_combinations(const Sweep& sweep) {
  if (sweep.empty()) return 1;
  std::uint64_t count = sweep.matrix.empty() && sweep.zip.empty() ? 0 : 1;
  for (const Axis& axis : sweep.matrix) count = product(count, axis.values.size());
  if (!sweep.zip.empty()) count = product(count, sweep.zip.front().values.size());
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  return count > most - sweep.include.size() ? most : count + sweep.include.size();
}

std::vector<Combination> expand(const Sweep& sweep) {
  if (sweep.empty()) return {Combination{}};
  std::vector<Combination> arms;
  if (!sweep.matrix.empty() || !sweep.zip.empty()) arms.emplace_back();
  const auto multiply = [&](std::size_t count, const auto& values_of) {
    std::vector<Combination> next;
    next.reserve(arms.size() * count);
    for (const Combination& arm : arms) {
      for (std::size_t i = 0; i < count; ++i) {
        next.push_back(arm);
        values_of(i, next.back().values);
      }
    }
    arms = std::move(next);
  };
  for (const Axis& axis : sweep.matrix) {
    multiply(axis.values.size(), [&](std::size_t i, std::vector<Assignment>& values) {
      values.push_back({axis.key, axis.values[i]});
    });
  }
  if (!sweep.zip.empty()) {
    multiply(sweep.zip.front().values.size(), [&](std::size_t i, std::vector<Assignment>& values) {
      for (const Axis& axis : sweep.zip) values.push_back({axis.key, axis.values[i]});
    });
  }
  std::erase_if(arms, [&](const Combination& arm) {
    return std::any_of(sweep.exclude.begin(), sweep.exclude.end(),
                       [&](const auto& excluded) { return matches(arm, excluded); });
  });
  arms.insert(arms.end(), sweep.include.begin(), sweep.include.end());
  return arms;
}

}  // namespace tetrad::parity
