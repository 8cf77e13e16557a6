#include "config/yaml_reader.h"

#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include "config/scalar.h"

namespace tetrad::config {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

// Turns byte offsets of the text into places.
class Places {
 public:
  Places(std::string_view text, const Origin& source) : text_(text), source_(source) {
    line_starts_.push_back(0);
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\n') line_starts_.push_back(i + 1);
    }
  }

  std::string_view text() const { return text_; }

  Origin at(std::size_t offset) const {
    offset = std::min(offset, text_.size());
    const auto next = std::upper_bound(line_starts_.begin(), line_starts_.end(), offset);
    const auto line = static_cast<std::size_t>(next - line_starts_.begin());
    return place(line, offset - line_starts_[line - 1]);
  }

  // yaml-cpp counts lines and columns from 0, columns in bytes.
  Origin at(const YAML::Mark& mark) const {
    if (mark.is_null()) return place(1, 0);
    const auto line = std::min(static_cast<std::size_t>(std::max(mark.line, 0)) + 1, line_starts_.size());
    return place(line, static_cast<std::size_t>(std::max(mark.column, 0)));
  }

  std::size_t offset_of(const YAML::Mark& mark) const {
    if (mark.is_null() || mark.line < 0 || static_cast<std::size_t>(mark.line) >= line_starts_.size()) {
      return text_.size();
    }
    const std::size_t start = line_starts_[static_cast<std::size_t>(mark.line)];
    return std::min(start + static_cast<std::size_t>(std::max(mark.column, 0)), text_.size());
  }

 private:
  Origin place(std::size_t line, std::size_t byte_column) const {
    if (source_.kind != Origin::Kind::file) return source_;
    byte_column = std::min(byte_column, text_.size() - line_starts_[line - 1]);
    // Places are asked for mostly in order, so counting goes on from the last one: a long line costs no more
    // than once.
    if (line != last_line_ || byte_column < last_byte_column_) {
      last_line_ = line;
      last_byte_column_ = 0;
      last_characters_ = 0;
    }
    const std::string_view from =
        text_.substr(line_starts_[line - 1]).substr(last_byte_column_, byte_column - last_byte_column_);
    last_characters_ += static_cast<int>(std::count_if(
        from.begin(), from.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
    last_byte_column_ = byte_column;
    return Origin::file(source_.source, static_cast<int>(line), last_characters_ + 1);
  }

  std::string_view text_;
  Origin source_;
  std::vector<std::size_t> line_starts_;
  mutable std::size_t last_line_ = 0;
  mutable std::size_t last_byte_column_ = 0;
  mutable int last_characters_ = 0;
};

// Ends the reading of a text whose error has been reported.
struct Stop {};

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const Places& places, Diagnostics& diagnostics, const ReadLimits& limits)
      : places_(places), diagnostics_(diagnostics), limits_(limits) {}

  Node root() const { return root_ ? *root_ : Node::map({}, places_.at(std::size_t{0})); }
  bool has_root() const { return root_.has_value(); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    // The event does not say whether the text was `null`, `~` or nothing at all; in the last case the mark is
    // that of whatever comes next, so the place of the key is the better one.
    const std::string_view rest = places_.text().substr(places_.offset_of(mark));
    std::string_view word;
    for (const std::string_view spelling : {"null", "~", "Null", "NULL"}) {
      if (rest.starts_with(spelling)) word = spelling;
    }
    if (expects_key()) {
      diagnostics_.error(places_.at(mark), "a key must be text; write it in quotes if it is meant");
      begin_entry({}, places_.at(mark), true);
      return;
    }
    Origin origin =
        word.empty() && !stack_.empty() && stack_.back().is_map ? stack_.back().key_origin : places_.at(mark);
    add(Node::null(std::move(origin), std::string(word)), anchor, mark);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (expects_key()) {
      diagnostics_.error(places_.at(mark), "a key must be text, not an alias");
      begin_entry({}, places_.at(mark), true);
    } else if (found == anchors_.end()) {
      diagnostics_.error(places_.at(mark), "this alias stands inside the value that it refers to");
      add(Node::invalid(places_.at(mark)), YAML::NullAnchor, mark);
    } else {
      if (static_cast<int>(stack_.size()) + found->second.height() > limits_.max_depth) too_deep(mark);
      add(found->second, YAML::NullAnchor, mark);
    }
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const Origin origin = places_.at(mark);
    const bool quoted = tag == "!";
    const bool tag_ok = check_tag(mark, tag);
    // The file is UTF-8, but yaml-cpp turns these two escapes into single bytes that are not.
    if (quoted && invalid_utf8_offset(value) != std::string::npos) {
      diagnostics_.error(origin, "the escapes \\_ and \\N are not supported; write \\u00a0 or \\u0085");
      throw Stop{};
    }
    std::string problem;
    Node node = quoted ? Node::string(value, origin) : plain_scalar(value, origin, problem);
    if (!tag_ok) node = Node::invalid(origin);
    if (expects_key()) {
      take_key(value, quoted, node, origin, tag_ok);
      return;
    }
    if (!problem.empty()) diagnostics_.error(origin, problem);
    if (quoted && !is_closed(places_.offset_of(mark))) {
      diagnostics_.error(origin, "YAML syntax: the quotes that open here are not closed");
      throw Stop{};
    }
    add(std::move(node), anchor, mark);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, false);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, true);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    bool is_map = false;
    bool is_key = false;   // a container where a key should be; its error has been reported
    bool discard = false;  // the value to come belongs to a key in error
    bool has_key = false;
    YAML::anchor_t anchor = YAML::NullAnchor;
    Origin origin;
    std::string key;
    Origin key_origin;
    std::vector<Node> items;
    std::vector<Entry> entries;
  };

  // Whether the quoted scalar at this offset has its end. yaml-cpp takes the end of the text for one when a
  // line break stands before it. A scalar with an anchor begins at the anchor.
  bool is_closed(std::size_t at) const {
    const std::string_view text = places_.text();
    if (at < text.size() && text[at] == '&')
      at = text.find_first_not_of(" \r\n", text.find_first_of(" \r\n", at));
    if (at >= text.size() || (text[at] != '"' && text[at] != '\''))
      return true;  // not where it was looked for
    const char quote = text[at];
    for (std::size_t i = at + 1; i < text.size(); ++i) {
      if (quote == '"' && text[i] == '\\') {
        ++i;
      } else if (text[i] == quote) {
        if (quote == '"' || i + 1 >= text.size() || text[i + 1] != quote) return true;
        ++i;  // '' stands for one quote
      }
    }
    return false;
  }

  bool expects_key() const { return !stack_.empty() && stack_.back().is_map && !stack_.back().has_key; }

  void begin_entry(std::string key, Origin origin, bool discard) {
    Frame& frame = stack_.back();
    frame.key = std::move(key);
    frame.key_origin = std::move(origin);
    frame.has_key = true;
    frame.discard = discard;
  }

  void take_key(const std::string& key, bool quoted, const Node& node, const Origin& origin, bool tag_ok) {
    bool discard = !tag_ok;
    if (!quoted && key == "<<") {
      diagnostics_.error(
          origin, "merge keys (<<) are not supported; use `extends: [file.yaml]` at the top of the file");
      discard = true;
    } else if (tag_ok && node.kind() != Kind::string) {
      diagnostics_.error(origin,
                         fmt::format("a key must be text; write \"{}\" in quotes if it is meant", key));
      discard = true;
    } else {
      for (const Entry& entry : stack_.back().entries) {
        if (entry.key != key) continue;
        diagnostics_.error(origin, fmt::format("duplicate key {}; first set at {}", quoted_for_message(key),
                                               entry.key_origin.prefix()));
        discard = true;
      }
    }
    begin_entry(key, origin, discard);
  }

  bool check_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return true;
    static constexpr std::string_view yaml_prefix = "tag:yaml.org,2002:";
    const std::string shown = tag.starts_with(yaml_prefix) ? "!!" + tag.substr(yaml_prefix.size()) : tag;
    diagnostics_.error(places_.at(mark),
                       fmt::format("tags are not supported: {}", quoted_for_message(shown)));
    return false;
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, bool is_map) {
    check_tag(mark, tag);
    if (static_cast<int>(stack_.size()) >= limits_.max_depth) too_deep(mark);
    Frame frame;
    frame.is_map = is_map;
    frame.anchor = anchor;
    frame.origin = places_.at(mark);
    count(1, frame.origin);
    if (expects_key()) {
      diagnostics_.error(frame.origin, "a key must be text, not a list or a map");
      frame.is_key = true;
    }
    stack_.push_back(std::move(frame));
  }

  void close() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    Node node = frame.is_map ? Node::map(std::move(frame.entries), frame.origin)
                             : Node::list(std::move(frame.items), frame.origin);
    if (frame.is_key) {
      begin_entry({}, frame.origin, true);
      return;
    }
    attach(std::move(node), frame.anchor);
  }

  void count(std::size_t nodes, const Origin& where) {
    count_ += std::min(nodes, limits_.max_nodes + 1);
    if (count_ <= limits_.max_nodes) return;
    diagnostics_.error(
        where, fmt::format("more than {} values, aliases expanded, by this place", limits_.max_nodes));
    throw Stop{};
  }

  // A leaf or an expanded alias. (A container is counted when it opens.)
  void add(Node node, YAML::anchor_t anchor, const YAML::Mark& mark) {
    count(node.node_count(), places_.at(mark));
    attach(std::move(node), anchor);
  }

  void attach(Node node, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) anchors_.insert_or_assign(anchor, node);
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = stack_.back();
    if (!frame.is_map) {
      frame.items.push_back(std::move(node));
      return;
    }
    if (!frame.discard) frame.entries.push_back({std::move(frame.key), frame.key_origin, std::move(node)});
    frame.has_key = false;
    frame.discard = false;
  }

  [[noreturn]] void too_deep(const YAML::Mark& mark) {
    diagnostics_.error(places_.at(mark),
                       fmt::format("lists and maps are nested more than {} deep", limits_.max_depth));
    throw Stop{};
  }

  const Places& places_;
  Diagnostics& diagnostics_;
  const ReadLimits& limits_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, Node> anchors_;
  std::optional<Node> root_;
  std::size_t count_ = 0;
};

// yaml-cpp accepts tabs and control characters in places where YAML does not, so they are looked for first.
bool check_characters(std::string_view text, const Places& places, Diagnostics& diagnostics) {
  if (const std::size_t bad = invalid_utf8_offset(text); bad != std::string_view::npos) {
    diagnostics.error(places.at(bad),
                      fmt::format("byte 0x{:02x} is not valid UTF-8",
                                  static_cast<unsigned>(static_cast<unsigned char>(text[bad]))));
    return false;
  }
  bool good = true;
  bool in_indentation = true;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '\n') {
      in_indentation = true;
    } else if (c == '\t' && in_indentation) {
      const std::size_t next = text.find_first_not_of(" \t\r", i);
      if (next != std::string_view::npos && text[next] != '\n' && text[next] != '#') {
        diagnostics.error(places.at(i), "tab in the indentation; use spaces");
        good = false;
      }
      in_indentation = false;
    } else if (c != ' ') {
      in_indentation = false;
      if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7F) {
        diagnostics.error(
            places.at(i),
            fmt::format("control character 0x{:02x}; write it as \"\\x{:02x}\" in double quotes", c, c));
        good = false;
      }
    }
  }
  return good;
}

}  // namespace

Node read_yaml(std::string_view text, const Origin& origin_of_text, Diagnostics& diagnostics,
               const ReadLimits& limits) {
  if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
  const Node nothing = Node::invalid(origin_of_text);
  if (text.size() > limits.max_bytes) {
    diagnostics.error(origin_of_text, fmt::format("the text is {} bytes long; a config has at most {}",
                                                  text.size(), limits.max_bytes));
    return nothing;
  }
  const Places places(text, origin_of_text);
  if (!check_characters(text, places, diagnostics)) return nothing;
  TreeBuilder builder(places, diagnostics, limits);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    const Node root = builder.root();
    TreeBuilder second(places, diagnostics, limits);
    if (parser.HandleNextDocument(second)) {
      diagnostics.error(second.has_root() ? second.root().origin() : origin_of_text,
                        "a config is one YAML document; a second one starts before this");
    }
    return root;
  } catch (const Stop&) {
    return nothing;
  } catch (const YAML::Exception& e) {
    diagnostics.error(places.at(e.mark), fmt::format("YAML syntax: {}", e.msg));
    return nothing;
  }
}

}  // namespace tetrad::config
