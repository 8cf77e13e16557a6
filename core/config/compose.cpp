#include "config/compose.h"

#include <fmt/format.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "config/merge.h"
#include "config/scalar.h"
#include "config/set_argument.h"
#include "config/yaml_reader.h"

namespace tetrad::config {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_chain = 16;  // files on one way from the main file to a base
constexpr std::size_t max_files = 64;

// A file with its bases merged in.
struct Layer {
  Node tree;
  std::set<std::string> files;  // it and all its bases, as shown to the user
  std::vector<Pin> pins;
};

class Composer {
 public:
  explicit Composer(Composed& result) : result_(result) {
    const fs::path& given = result.surroundings.current_directory;
    std::error_code ignored;
    current_directory_ = given.empty() ? fs::current_path(ignored) : given;
  }

  void run() {
    Node root = Node::map({}, Origin{});
    for (const std::string& file : result_.main_files) {
      const Layer* layer = load(file, Origin{});
      if (layer == nullptr) {
        result_.incomplete = true;
        continue;
      }
      root = merge(root, layer->tree, &core_schema(), result_.diagnostics);
      result_.pins.insert(result_.pins.end(), layer->pins.begin(), layer->pins.end());
    }
    Node overrides = read_set_arguments(result_.sets, result_.diagnostics);
    overrides = substitute_environment(overrides, result_.surroundings.environment, result_.diagnostics);
    result_.root = merge(root, overrides, &core_schema(), result_.diagnostics);
  }

 private:
  // `named_at` is the place of the extends entry; without a place for files that the user named.
  const Layer* load(const std::string& name, const Origin& named_at) {
    const fs::path path = current_directory_ / name;
    std::error_code ignored;
    const fs::path canonical = fs::weakly_canonical(path, ignored);
    const std::string identity = ignored ? path.lexically_normal().string() : canonical.string();
    const auto in_chain = std::find(chain_ids_.begin(), chain_ids_.end(), identity);
    if (in_chain != chain_ids_.end()) {
      std::string cycle;
      for (auto i = in_chain - chain_ids_.begin(); i < static_cast<std::ptrdiff_t>(chain_names_.size());
           ++i) {
        cycle += chain_names_[static_cast<std::size_t>(i)] + " -> ";
      }
      result_.diagnostics.error(named_at, fmt::format("extends goes round in a circle: {}{}", cycle, name));
      return nullptr;
    }
    if (const auto known = layers_.find(identity); known != layers_.end()) return &known->second;
    if (chain_ids_.size() >= max_chain || result_.files.size() >= max_files) {
      result_.diagnostics.error(
          named_at,
          fmt::format("too many files: at most {} in a chain of extends, {} in all", max_chain, max_files));
      return nullptr;
    }
    std::string text;
    if (!read_file(path, name, named_at, text)) return nullptr;
    result_.files.push_back(name);

    chain_ids_.push_back(identity);
    chain_names_.push_back(name);
    Layer layer = compose_file(name, text);
    chain_ids_.pop_back();
    chain_names_.pop_back();
    return &layers_.insert_or_assign(identity, std::move(layer)).first->second;
  }

  bool read_file(const fs::path& path, const std::string& name, const Origin& named_at, std::string& text) {
    const auto fail = [&](const std::string& why) {
      const bool by_user = named_at.kind == Origin::Kind::none;
      result_.diagnostics.error(
          by_user ? Origin::file(std::make_shared<const std::string>(name), 0, 0) : named_at,
          by_user ? "cannot read: " + why : fmt::format("cannot read '{}': {}", name, why));
      return false;
    };
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) return fail("no such file");
    if (fs::is_directory(status)) return fail("is a folder");
    // A pipe given by the user (a shell's process substitution) is fine; one that a file names may never
    // answer.
    if (named_at.kind != Origin::Kind::none && !fs::is_regular_file(status))
      return fail("is not a regular file");
    errno = 0;
    std::ifstream stream(path, std::ios::binary);
    if (!stream) return fail(errno != 0 ? std::strerror(errno) : "cannot be opened");
    // One byte more than allowed, so that read_yaml sees that the file is too long; a device has no end.
    text.resize(ReadLimits{}.max_bytes + 8);
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (stream.bad()) return fail("read error");
    return true;
  }

  Layer compose_file(const std::string& name, const std::string& text) {
    Diagnostics& diagnostics = result_.diagnostics;
    const auto source = std::make_shared<const std::string>(name);
    Node tree = read_yaml(text, Origin::file(source, 0, 0), diagnostics);
    if (!tree.is_map()) {
      result_.incomplete = true;
      if (tree.kind() != Kind::invalid && !(tree.is_null() && tree.text().empty())) {
        diagnostics.error(tree.origin(),
                          fmt::format("a config is a map of sections, not {}", kind_name(tree.kind())));
      }
      tree = Node::map({}, Origin::file(source, 1, 1));
    }
    tree = substitute_environment(tree, result_.surroundings.environment, diagnostics);

    std::vector<Entry> own;
    const Entry* extends = nullptr;
    for (const Entry& entry : tree.entries()) {
      if (entry.key == "extends") {
        extends = &entry;
      } else {
        own.push_back(entry);
      }
    }
    const Node own_tree = Node::map(std::move(own), tree.origin());
    Layer layer;
    if (extends != nullptr) layer = merge_bases(*extends, name, own_tree);
    layer.tree = layer.tree.is_map() ? merge(layer.tree, own_tree, &core_schema(), diagnostics) : own_tree;
    layer.files.insert(name);
    add_pins(own_tree, layer);
    return layer;
  }

  Layer merge_bases(const Entry& extends, const std::string& name, const Node& own_tree) {
    std::vector<Node> names;
    if (extends.value.kind() == Kind::string) {
      names.push_back(extends.value);
    } else if (extends.value.kind() == Kind::list) {
      names = extends.value.items();
    } else if (extends.value.kind() != Kind::invalid) {
      result_.diagnostics.error(extends.key_origin, "extends takes a list of files, such as [base.yaml]");
    }
    if (names.empty() && extends.value.kind() != Kind::list) result_.incomplete = true;
    Layer merged;
    merged.tree = Node::map({}, extends.key_origin);
    for (const Node& base : names) {
      if (base.kind() == Kind::invalid) continue;
      if (base.kind() != Kind::string || base.as_string().empty()) {
        result_.diagnostics.error(base.origin(), fmt::format("extends: expected a file name, got {}",
                                                             quoted_for_message(base.text())));
        continue;
      }
      const fs::path relative = fs::path(name).parent_path() / base.as_string();
      const Layer* layer = load(relative.lexically_normal().string(), base.origin());
      if (layer == nullptr) {
        result_.incomplete = true;
        continue;
      }
      merged.tree = merge_siblings(merged, *layer, own_tree, base.origin());
      merged.files.insert(layer->files.begin(), layer->files.end());
      merged.pins.insert(merged.pins.end(), layer->pins.begin(), layer->pins.end());
    }
    return merged;
  }

  // Two bases of one file.
  Node merge_siblings(const Layer& first, const Layer& second, const Node& own_tree, const Origin& where) {
    const Node settled = settle(first, second, first.tree, second.tree, &own_tree, {}, where);
    return merge(first.tree, settled, nullptr, result_.diagnostics);
  }

  static bool inherited(const Node& value, const Layer& other) {
    const Origin& origin = value.origin();
    return origin.kind == Origin::Kind::file && other.files.count(*origin.source) > 0;
  }

  // The second base's tree without the values that lose against the first base's.
  Node settle(const Layer& first, const Layer& second, const Node& a, const Node& b, const Node* own,
              const std::string& path, const Origin& where) {
    std::vector<Entry> entries;
    for (const Entry& entry : b.entries()) {
      const std::string child_path = join_path(path, entry.key);
      const Node* other = a.get(entry.key);
      const Node* own_value = own == nullptr ? nullptr : own->get(entry.key);
      if (other == nullptr || other->kind() == Kind::invalid || entry.value.kind() == Kind::invalid) {
        entries.push_back(entry);
      } else if (other->is_map() && entry.value.is_map()) {
        // A file's own map only settles the keys that stand in it.
        const Node* own_map = own_value != nullptr && own_value->is_map() ? own_value : nullptr;
        if (own_value != nullptr && own_map == nullptr) continue;
        entries.push_back({entry.key, entry.key_origin,
                           settle(first, second, *other, entry.value, own_map, child_path, where)});
      } else if (same_value(*other, entry.value)) {
        continue;
      } else if (own_value != nullptr || inherited(*other, second)) {
        entries.push_back(entry);
      } else if (!inherited(entry.value, first)) {
        result_.diagnostics.error(
            where, fmt::format(
                       "two bases set '{}' differently: {} at {} and {} at {}; set it in this file to choose",
                       child_path, quoted_for_message(other->text()), other->origin().label(),
                       quoted_for_message(entry.value.text()), entry.value.origin().label()));
      }
    }
    return Node::map(std::move(entries), b.origin());
  }

  void add_pins(const Node& own_tree, Layer& layer) {
    const Node* pins = own_tree.get("pin");
    if (pins == nullptr || !pins->is_map()) return;  // another type is reported by the validation
    for (const Entry& entry : pins->entries()) {
      if (entry.value.kind() != Kind::string) continue;
      layer.pins.push_back({entry.key, entry.value.as_string(), entry.key_origin, layer.tree});
    }
  }

  Composed& result_;
  fs::path current_directory_;
  std::map<std::string, Layer> layers_;  // by canonical path
  std::vector<std::string> chain_ids_;
  std::vector<std::string> chain_names_;
};

}  // namespace

Composed compose(std::span<const std::string> files, std::span<const std::string> sets,
                 const Surroundings& surroundings) {
  Composed result;
  result.main_files.assign(files.begin(), files.end());
  result.sets.assign(sets.begin(), sets.end());
  result.surroundings = surroundings;
  Composer(result).run();
  return result;
}

std::vector<ChosenPlugin> chosen_plugins(const Composed& composed) {
  std::vector<ChosenPlugin> chosen;
  for (const Field& section : core_schema().fields) {
    if (section.find("options") == nullptr || section.find("options")->type != Type::options) continue;
    const Node* value = composed.root.get(section.key);
    const Node* plugin = value == nullptr ? nullptr : value->get("plugin");
    if (plugin == nullptr || plugin->kind() != Kind::string || plugin->as_string().empty()) continue;
    chosen.push_back(
        {section.find("options")->plugin_kind, std::string(unquoted_argument(*plugin)), plugin->origin()});
  }
  return chosen;
}

}  // namespace tetrad::config
