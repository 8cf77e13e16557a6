#include "runs/summary.h"

#include "text/utf8.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <vector>

namespace tetrad::runs {

using nlohmann::json;

namespace {

constexpr std::size_t longest_text = 20'000;  // bytes of one prompt or answer on the page

// The value at a path such as "/record/run/path"; null where anything on the way is missing.
const json& at(const json& from, const char* path) {
  static const json nothing;
  const json::json_pointer pointer(path);
  return from.contains(pointer) ? from.at(pointer) : nothing;
}

std::string text_at(const json& from, const char* path) {
  const json& value = at(from, path);
  return value.is_string() ? text::lossy_utf8(value.get<std::string>()) : "";
}

std::optional<double> number_at(const json& from, const char* path) {
  const json& value = at(from, path);
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

std::string gib(double bytes) {
  return fmt::format("{:.2f} GiB", bytes / (1024.0 * 1024.0 * 1024.0));
}

// "20261123T092801Z" as "2026-11-23 09:28:01 UTC".
std::string readable_time(const std::string& stamp) {
  if (stamp.size() != 16) return stamp;
  return fmt::format("{}-{}-{} {}:{}:{} UTC", stamp.substr(0, 4), stamp.substr(4, 2), stamp.substr(6, 2),
                     stamp.substr(9, 2), stamp.substr(11, 2), stamp.substr(13, 2));
}

// Control characters as the symbols that stand for them; line breaks and tabs stay.
std::string visible(std::string_view text) {
  std::string out;
  for (const char c : text::lossy_utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0x7F) {
      text::append_utf8(out, 0x2421);
    } else if (byte < 0x20 && c != '\n' && c != '\t') {
      text::append_utf8(out, 0x2400 + byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string cell(std::string_view text) {
  std::string out;
  for (const char c : visible(text)) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::size_t longest_run_of_backticks(std::string_view text) {
  std::size_t longest = 0;
  std::size_t now = 0;
  for (const char c : text) {
    now = c == '`' ? now + 1 : 0;
    longest = std::max(longest, now);
  }
  return longest;
}

std::string code(std::string_view text) {
  const std::string inside = cell(text);
  const std::string fence(longest_run_of_backticks(inside) + 1, '`');
  const char* gap = inside.starts_with('`') || inside.ends_with('`') ? " " : "";
  return fence + gap + inside + gap + fence;
}

class Page {
 public:
  Page(const json& run, const Words& words) : run_(run), w_(words) {}

  std::string take() {
    out_ = fmt::format("# {} {}{} {}\n\n| | |\n|---|---|\n", w_.run, cell(text_at(run_, "/name")), w_.colon,
                       state());
    add_facts();
    add_turns();
    add_evaluation();
    add_logits();
    add_text();
    return std::move(out_);
  }

 private:
  void row(const char* name, const std::string& value) {
    if (!value.empty()) out_ += fmt::format("| {} | {} |\n", name, value);
  }

  void code_row(const char* name, const std::string& value) {
    if (!value.empty()) row(name, code(value));
  }

  std::string state() const { return state_words(w_, text_at(run_, "/status/state")); }

  std::string seconds(std::optional<double> value) const {
    return value ? fmt::format("{:.2f} {}", *value, w_.seconds) : w_.unknown;
  }

  std::string result() const {
    const auto exit_code = number_at(run_, "/status/exit_code");
    return exit_code ? fmt::format("{}{}{} {:.0f}{}", state(), w_.open, w_.exit_code, *exit_code, w_.close)
                     : state();
  }

  std::string plugin(const char* kind) const {
    const json& named = at(run_, (std::string("/record/run/plugins/") + kind).c_str());
    if (named.is_string()) return cell(named.get<std::string>());
    const json& chosen = at(run_, "/description/plugins");  // it ended before the engine could say
    if (!chosen.is_array()) return {};
    for (const json& one : chosen) {
      if (text_at(one, "/kind") == kind) return cell(text_at(one, "/id") + " " + text_at(one, "/version"));
    }
    return {};
  }

  std::string linear() const {
    std::string value = plugin("linear");
    if (const std::string compute = text_at(run_, "/record/run/compute"); !compute.empty()) {
      value += w_.comma + cell(compute);
    }
    const std::string cache = text_at(run_, "/record/run/eval_cache");
    if (!cache.empty()) {
      value += fmt::format("{}{} {}", w_.comma, w_.eval_cache,
                           cache == "on"    ? w_.on
                           : cache == "off" ? w_.off
                                            : w_.none);
    }
    return value;
  }

  std::string memory() const {
    std::vector<std::string> parts;
    if (const auto bytes = number_at(run_, "/record/memory/host_peak_bytes")) {
      parts.push_back(fmt::format("{} {}", w_.host_memory, gib(*bytes)));
    }
    if (const auto bytes = number_at(run_, "/status/guard/peak_tree_bytes")) {
      parts.push_back(fmt::format("{} {}", w_.process_tree, gib(*bytes)));
    }
    const auto device = number_at(run_, "/record/memory/device_peak_bytes");
    if (device && *device > 0) parts.push_back(fmt::format("{} {}", w_.device_memory, gib(*device)));
    return parts.empty() ? w_.unknown : fmt::format("{}", fmt::join(parts, w_.comma));
  }

  std::string timing() const {
    std::vector<std::string> parts;
    if (const auto load = number_at(run_, "/record/load_s")) {
      parts.push_back(fmt::format("{} {}", w_.load_time, seconds(load)));
    }
    const auto first = number_at(run_, "/record/ttft_s");
    if (first && *first > 0) parts.push_back(fmt::format("{} {}", w_.first_token, seconds(first)));
    if (const auto rate = number_at(run_, "/status/tok_s"))
      parts.push_back(fmt::format("{:.1f} tok/s", *rate));
    return fmt::format("{}", fmt::join(parts, w_.comma));
  }

  void add_facts() {
    const json& line = at(run_, "/description/command_line");
    code_row(w_.command, shell_words(line));
    row(w_.task, cell(text_at(run_, "/description/command")));
    row(w_.started, cell(readable_time(text_at(run_, "/description/started_utc"))));
    if (const auto wall = number_at(run_, "/status/wall_s")) row(w_.duration, seconds(wall));
    row(w_.result, result());
    code_row(w_.reason, text_at(run_, "/status/reason"));
    const std::string path = text_at(run_, "/record/run/path");
    row(w_.path, cell(path.empty() ? text_at(run_, "/description/config/path") : path));
    row(w_.linear, linear());
    row(w_.kv_cache, plugin("kv_cache"));
    const std::string device = text_at(run_, "/record/run/device");
    if (!device.empty()) row(w_.device, cell(device + w_.comma + text_at(run_, "/record/run/dtype")));
    const std::string weights = text_at(run_, "/record/run/weight_file");
    code_row(w_.weights, weights.empty() ? text_at(run_, "/description/config/model/path") : weights);
    code_row(w_.weight_hash, text_at(run_, "/record/run/weight_identity"));
    const std::string config = text_at(run_, "/description/config_file");
    const std::string hash = text_at(run_, "/description/config_hash");
    if (!config.empty())
      row(w_.config,
          code(config) + (hash.empty() ? "" : fmt::format("{}{} {}", w_.comma, w_.hash, code(hash))));
    const json& overrides = at(run_, "/description/overrides");
    if (overrides.is_array() && !overrides.empty()) code_row(w_.overrides, shell_words(overrides));
    row(w_.peak_memory, memory());
    row(w_.speed, timing());
    row(w_.versions, cell(text_at(run_, "/description/versions/tetrad")));
  }

  const json& turns() const { return at(run_, "/record/turns"); }

  void add_turns() {
    if (!turns().is_array() || turns().empty()) return;
    out_ += fmt::format(
        "\n## {}\n\n| {} | seqLen | contextTokens | {} | {} | {} | {} | {} "
        "|\n|---|---|---|---|---|---|---|---|\n",
        w_.turns, w_.turn, w_.prefill_tokens, w_.prefill_time, w_.output_tokens, w_.decode_rate,
        w_.stop_reason);
    for (std::size_t i = 0; i < turns().size(); ++i) {
      const json& turn = turns()[i];
      const auto whole = [&](const char* key) {
        const auto value = number_at(turn, key);
        return value ? fmt::format("{:.0f}", *value) : std::string(w_.unknown);
      };
      out_ += fmt::format("| {} | {} | {} | {} | {:.1f} | {} | {:.1f} | {} |\n", i + 1, whole("/seq_len"),
                          whole("/context_tokens"), whole("/prefill_tokens"),
                          number_at(turn, "/prefill_s").value_or(0) * 1e3, at(turn, "/output_ids").size(),
                          number_at(turn, "/decode_tok_s").value_or(0), cell(text_at(turn, "/stop_reason")));
    }
  }

  void add_evaluation() {
    const auto perplexity = number_at(run_, "/record/result/perplexity");
    if (!perplexity) return;
    const auto count = [&](const char* key) {
      return fmt::format("{:.0f}", number_at(run_, key).value_or(0));
    };
    out_ += fmt::format("\n## {}\n\n| | |\n|---|---|\n", w_.evaluation);
    code_row(w_.text_file, text_at(run_, "/record/result/text"));
    const auto error = number_at(run_, "/record/result/perplexity_standard_error");
    row(w_.perplexity, fmt::format("{:.4f} ± {:.4f}", *perplexity, error.value_or(0)));
    row(w_.tokens, count("/record/result/tokens"));
    row(w_.scored_tokens, count("/record/result/scored_tokens"));
    row(w_.window, count("/record/result/window"));
    row(w_.stride, count("/record/result/stride"));
  }

  void add_logits() {
    const auto positions = number_at(run_, "/record/result/positions");
    if (!positions) return;
    out_ += fmt::format("\n## {}\n\n| | |\n|---|---|\n", w_.logits);
    code_row(w_.file, text_at(run_, "/record/result/out"));
    row(w_.positions, fmt::format("{:.0f}", *positions));
    row(w_.vocabulary, fmt::format("{:.0f}", number_at(run_, "/record/result/vocab_size").value_or(0)));
  }

  void block(const char* title, const std::string& text) {
    std::string shown = visible(text);
    bool cut = false;
    if (shown.size() > longest_text) {
      std::size_t end = longest_text;
      while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xC0) == 0x80) --end;
      shown.resize(end);
      cut = true;
    }
    const std::string fence(std::max<std::size_t>(3, longest_run_of_backticks(shown) + 1), '`');
    out_ += fmt::format("\n{}{}\n\n{}text\n{}{}{}\n", title, w_.colon, fence, shown,
                        shown.ends_with('\n') || shown.empty() ? "" : "\n", fence);
    if (cut) out_ += fmt::format("\n*{}*\n", w_.cut);
  }

  void add_text() {
    if (!turns().is_array() || turns().empty()) return;
    out_ += fmt::format("\n## {}\n", w_.text);
    for (std::size_t i = 0; i < turns().size(); ++i) {
      const json& turn = turns()[i];
      if (turns().size() > 1) out_ += fmt::format("\n### {} {}\n", w_.turn, i + 1);
      block(w_.prompt, text_at(turn, "/prompt"));
      block(w_.answer, text_at(turn, "/text"));
      const std::string collapse = text_at(turn, "/collapse");
      if (!collapse.empty()) out_ += fmt::format("\n{}{} {}\n", w_.collapse, w_.colon, code(collapse));
    }
  }

  const json& run_;
  const Words& w_;
  std::string out_;
};

}  // namespace

std::string shell_words(const json& command_line) {
  if (!command_line.is_array()) return {};
  std::string line;
  for (const json& item : command_line) {
    const std::string word = item.is_string() ? text::lossy_utf8(item.get<std::string>()) : item.dump();
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             std::string_view("_-./=:,+@%^").find(c) != std::string_view::npos;
    });
    if (!line.empty()) line += ' ';
    if (plain) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

std::string summary(const json& run, Language language) {
  return Page(run, words(language)).take();
}

}  // namespace tetrad::runs
