#include "config/tree.h"

#include <fmt/format.h>
#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>
#include <variant>

#include "config/scalar.h"

namespace tetrad::config {

Origin Origin::file(std::shared_ptr<const std::string> name, int line, int column) {
  return {Kind::file, std::move(name), line, column, nullptr};
}

Origin Origin::set(std::shared_ptr<const std::string> argument, int number) {
  return {Kind::set, std::move(argument), number, 0, nullptr};
}

Origin Origin::schema_default() {
  return {Kind::default_value, nullptr, 0, 0, nullptr};
}

std::string Origin::prefix() const {
  switch (kind) {
    case Kind::file:
      return line > 0 ? fmt::format("{}:{}:{}", *source, line, column) : *source;
    case Kind::set:
      return "--set " + *source;
    case Kind::default_value:
      return "default";
    case Kind::none:
      break;
  }
  return {};
}

std::string Origin::label() const {
  std::string text = kind == Kind::set ? fmt::format("--set #{}", line) : prefix();
  if (environment) text += fmt::format(" (env {})", *environment);
  return text;
}

const char* kind_name(Kind kind) noexcept {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return "a boolean";
    case Kind::integer:
      return "an integer";
    case Kind::number:
      return "a number";
    case Kind::string:
      return "text";
    case Kind::list:
      return "a list";
    case Kind::map:
      return "a map";
    case Kind::invalid:
      return "an invalid value";
  }
  return "a value";
}

struct Node::Data {
  Kind kind = Kind::null;
  bool untyped = false;
  int height = 0;
  std::size_t count = 1;
  Origin origin;
  std::string text;
  std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<Node>, std::vector<Entry>>
      value;
};

namespace {

constexpr std::size_t max_count = std::numeric_limits<std::size_t>::max();

std::size_t saturating_add(std::size_t a, std::size_t b) {
  return a > max_count - b ? max_count : a + b;
}

}  // namespace

Node::Node() noexcept {
  static const auto empty = std::make_shared<const Data>();
  data_ = empty;
}

Node Node::null(Origin origin, std::string text) {
  Data d;
  d.origin = std::move(origin);
  d.text = std::move(text);
  return Node(std::make_shared<const Data>(std::move(d)));
}

Node Node::boolean(bool value, Origin origin) {
  Data d;
  d.kind = Kind::boolean;
  d.origin = std::move(origin);
  d.text = value ? "true" : "false";
  d.value = value;
  return Node(std::make_shared<const Data>(std::move(d)));
}

Node Node::integer(std::int64_t value, Origin origin, std::string text) {
  Data d;
  d.kind = Kind::integer;
  d.origin = std::move(origin);
  d.text = text.empty() ? std::to_string(value) : std::move(text);
  d.value = value;
  return Node(std::make_shared<const Data>(std::move(d)));
}

Node Node::number(double value, Origin origin, std::string text) {
  Data d;
  d.kind = Kind::number;
  d.origin = std::move(origin);
  d.text = text.empty() ? number_text(value) : std::move(text);
  d.value = value;
  return Node(std::make_shared<const Data>(std::move(d)));
}

Node Node::string(std::string value, Origin origin) {
  Data d;
  d.kind = Kind::string;
  d.origin = std::move(origin);
  d.value = std::move(value);
  return Node(std::make_shared<const Data>(std::move(d)));
}

Node Node::untyped(std::string text, Origin origin) {
  Data d;
  d.kind = Kind::string;
  d.untyped = true;
  d.origin = std::move(origin);
  d.value = std::move(text);
  return Node(std::make_shared<const Data>(std::move(d)));
}

Node Node::invalid(Origin origin, std::string text) {
  Data d;
  d.kind = Kind::invalid;
  d.origin = std::move(origin);
  d.text = std::move(text);
  return Node(std::make_shared<const Data>(std::move(d)));
}

Node Node::list(std::vector<Node> items, Origin origin) {
  Data d;
  d.kind = Kind::list;
  d.origin = std::move(origin);
  for (const Node& item : items) {
    d.count = saturating_add(d.count, item.node_count());
    d.height = std::max(d.height, item.height() + 1);
  }
  d.value = std::move(items);
  return Node(std::make_shared<const Data>(std::move(d)));
}

Node Node::map(std::vector<Entry> entries, Origin origin) {
  Data d;
  d.kind = Kind::map;
  d.origin = std::move(origin);
  for (const Entry& entry : entries) {
    d.count = saturating_add(d.count, entry.value.node_count());
    d.height = std::max(d.height, entry.value.height() + 1);
  }
  d.value = std::move(entries);
  return Node(std::make_shared<const Data>(std::move(d)));
}

Kind Node::kind() const noexcept {
  return data_->kind;
}
const Origin& Node::origin() const noexcept {
  return data_->origin;
}
bool Node::typed_by_schema() const noexcept {
  return data_->untyped;
}
std::size_t Node::node_count() const noexcept {
  return data_->count;
}
int Node::height() const noexcept {
  return data_->height;
}

namespace {

template <class T, class V>
const T& value_of(const V& value, Kind kind) {
  if (const T* typed = std::get_if<T>(&value)) return *typed;
  throw std::logic_error(fmt::format("[config] a node was read as another type than {}", kind_name(kind)));
}

}  // namespace

bool Node::as_bool() const {
  return value_of<bool>(data_->value, kind());
}
std::int64_t Node::as_integer() const {
  return value_of<std::int64_t>(data_->value, kind());
}
double Node::as_number() const {
  return kind() == Kind::integer ? static_cast<double>(as_integer()) : value_of<double>(data_->value, kind());
}
const std::string& Node::as_string() const {
  return value_of<std::string>(data_->value, kind());
}
const std::vector<Node>& Node::items() const {
  return value_of<std::vector<Node>>(data_->value, kind());
}
const std::vector<Entry>& Node::entries() const {
  return value_of<std::vector<Entry>>(data_->value, kind());
}

const Entry* Node::find(std::string_view key) const noexcept {
  const auto* entries = std::get_if<std::vector<Entry>>(&data_->value);
  if (entries == nullptr) return nullptr;
  for (const Entry& entry : *entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

const Node* Node::get(std::string_view key) const noexcept {
  const Entry* entry = find(key);
  return entry == nullptr ? nullptr : &entry->value;
}

std::string Node::text() const {
  switch (kind()) {
    case Kind::string:
      return as_string();
    case Kind::list:
      return items().empty() ? "[]" : "[...]";
    case Kind::map:
      return entries().empty() ? "{}" : "{...}";
    default:
      return data_->text;
  }
}

Node Node::with_origin(Origin origin) const {
  Data d = *data_;
  d.origin = std::move(origin);
  return Node(std::make_shared<const Data>(std::move(d)));
}

bool same_value(const Node& a, const Node& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::null:
      return true;
    case Kind::boolean:
      return a.as_bool() == b.as_bool();
    case Kind::integer:
      return a.as_integer() == b.as_integer();
    case Kind::number:
      return a.as_number() == b.as_number();
    case Kind::string:
      return a.as_string() == b.as_string();
    case Kind::list:
      return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), same_value);
    case Kind::map:
      return a.entries().size() == b.entries().size() &&
             std::all_of(a.entries().begin(), a.entries().end(), [&b](const Entry& entry) {
               const Node* other = b.get(entry.key);
               return other != nullptr && same_value(entry.value, *other);
             });
    case Kind::invalid:
      return false;
  }
  return false;
}

const Node* find_path(const Node& root, std::string_view path) {
  const Node* node = &root;
  while (!path.empty()) {
    const std::size_t dot = path.find('.');
    node = node->get(path.substr(0, dot));
    if (node == nullptr || dot == std::string_view::npos) return node;
    path.remove_prefix(dot + 1);
  }
  return node;
}

std::string join_path(std::string_view parent, std::string_view key) {
  if (parent.empty()) return std::string(key);
  return fmt::format("{}.{}", parent, key);
}

}  // namespace tetrad::config
