#include "config/diff.h"

namespace tetrad::config {
namespace {

void collect(const Node* a, const Node* b, const std::string& path, std::vector<Change>& changes) {
  const bool maps = (a == nullptr || a->is_map()) && (b == nullptr || b->is_map());
  if (!maps) {
    if (a != nullptr && b != nullptr && same_value(*a, *b)) return;
    changes.push_back({path, a == nullptr ? std::nullopt : std::optional<Node>(*a),
                       b == nullptr ? std::nullopt : std::optional<Node>(*b)});
    return;
  }
  // A map on one side only counts as its keys, one by one.
  if (a != nullptr) {
    for (const Entry& entry : a->entries()) {
      collect(&entry.value, b == nullptr ? nullptr : b->get(entry.key), join_path(path, entry.key), changes);
    }
  }
  if (b != nullptr) {
    for (const Entry& entry : b->entries()) {
      if (a == nullptr || a->find(entry.key) == nullptr)
        collect(nullptr, &entry.value, join_path(path, entry.key), changes);
    }
  }
}

}  // namespace

std::vector<Change> diff(const Node& a, const Node& b) {
  std::vector<Change> changes;
  collect(&a, &b, {}, changes);
  return changes;
}

}  // namespace tetrad::config
