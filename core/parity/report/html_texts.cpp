#include "parity/fields.h"
#include "parity/report/html_sections.h"
#include "parity/report/svg_plot.h"
#include "parity/report/tokens.h"
#include "parity/report/width.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>

namespace tetrad::parity {

using nlohmann::json;

namespace {

constexpr std::size_t most_tokens = 4000;  // of the script, in one strip
constexpr std::size_t most_sides = 24;

// A token's text; line breaks are shown and kept, bytes and unknown tokens look like what they are.
std::string piece_html(const json& piece) {
  const json& plain = piece.is_string() ? piece : at(piece, "text");
  if (plain.is_string()) {
    std::string out = escaped(plain.get<std::string>());
    for (std::size_t at = out.find("↵"); at != out.npos; at = out.find("↵", at)) {
      at += std::string_view("↵").size();
      out.insert(at++, "\n");
    }
    return out;
  }
  const std::string bytes = piece_text(piece);
  return bytes.empty() ? std::string() : fmt::format("<span class=\"bytes\">{}</span>", escaped(bytes));
}

std::string answer_html(const json& turn, std::optional<std::size_t> marked, Language l) {
  const json& pieces = at(turn, "pieces");
  if (!pieces.is_array() || pieces.empty()) return piece_html(at(turn, "text"));
  const json& ids = at(turn, "ids");
  std::string out;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::string piece = piece_html(pieces[i]);
    if (marked != i) {
      out += piece;
      continue;
    }
    const std::string id = ids.is_array() && i < ids.size() ? "#" + ids[i].dump() : "";
    out += fmt::format("<mark title=\"{}\">{}</mark>", escaped(id), piece.empty() ? escaped(id) : piece);
  }
  if (marked && *marked >= pieces.size()) out += fmt::format("<mark>{}</mark>", escaped(word(l, "ended")));
  return out;
}

std::string side(const std::string& label, const std::string& said) {
  return fmt::format("<div class=\"side\"><b>{}</b><div class=\"said\">{}</div></div>\n", escaped(label),
                     said);
}

}  // namespace

std::string html_first_tokens(const json& report, Language l) {
  std::string sides;
  for (const json& arm : at(report, "arms")) {
    const json& top = at(arm, "figures/first_token/top");
    if (!top.is_array() || top.empty()) continue;
    std::string rows;
    for (const json& one : top) {
      rows += fmt::format("<tr><td>{}</td><td>{}</td></tr>", escaped(token_text(one)),
                          percent(number(one, "prob")));
    }
    sides += side(text(arm, "label"), fmt::format("<table><tbody>{}</tbody></table>", rows));
  }
  if (sides.empty()) return {};
  return html_section(word(l, "section.first_token"),
                      fmt::format("<p class=\"about\">{}</p>\n<div class=\"sides\">{}</div>\n",
                                  escaped(word(l, "about.first_token")), sides));
}

std::string html_texts(const json& report, Language l) {
  const auto reference = number(report, "reference");
  std::size_t turns = 0;
  for (const json& arm : at(report, "arms")) {
    const json& greedy = at(arm, "figures/greedy");
    if (greedy.is_array()) turns = std::max(turns, greedy.size());
  }
  std::string body;
  for (std::size_t turn = 0; turn < turns; ++turn) {
    std::string sides;
    std::size_t count = 0;
    for (const json& arm : at(report, "arms")) {
      const json& greedy = at(arm, "figures/greedy");
      if (!greedy.is_array() || turn >= greedy.size() || ++count > most_sides) continue;
      std::optional<std::size_t> marked;
      const json& divergence = at(arm, "against_reference/text_divergence");
      if (number(divergence, "turn") == static_cast<double>(turn + 1)) {
        marked = static_cast<std::size_t>(std::max(0.0, number(divergence, "token").value_or(0)));
      }
      const bool is_reference = number(arm, "index") == reference;
      sides +=
          side(text(arm, "label") + (is_reference ? say(l, "brackets", word(l, "verdict.reference")) : ""),
               answer_html(greedy[turn], marked, l));
    }
    body +=
        fmt::format("<h3>{}</h3>\n<div class=\"sides\">{}</div>\n", escaped(say(l, "turn", turn + 1)), sides);
  }
  if (body.empty()) return {};
  return html_section(word(l, "section.text"),
                      fmt::format("<p class=\"about\">{}</p>\n", escaped(word(l, "about.text"))) + body);
}

std::string html_script(const json& report, const json& arm, Language l) {
  const json& ids = at(report, "script/ids");
  const json& pieces = at(report, "script/text_pieces");
  const json& kl = at(arm, "against_reference/kl");
  const json& agrees = at(arm, "against_reference/agrees");
  if (!ids.is_array() || !kl.is_array()) return {};
  double allowed = 1e-2;
  for (const json& check : at(arm, "checks")) {
    if (text(check, "figure") == "kl") allowed = std::max(1e-12, number(check, "allowed").value_or(allowed));
  }
  std::string out;
  for (std::size_t i = 0; i < std::min(ids.size(), most_tokens); ++i) {
    const json piece = pieces.is_array() && i < pieces.size() ? pieces[i] : json();
    std::string shown_piece = piece_html(piece);
    const std::string id = "#" + ids[i].dump();
    if (shown_piece.empty()) shown_piece = fmt::format("<span class=\"bytes\">{}</span>", escaped(id));
    // Token i was predicted at position i - 1.
    std::string style;
    std::string title = id;
    if (i > 0 && i - 1 < kl.size()) {
      const json& value = kl[i - 1];
      const double share = value.is_number() ? value.get<double>() / allowed : 1;
      style = share >= 1 ? "h4" : share >= 0.1 ? "h3" : share >= 0.01 ? "h2" : share >= 0.001 ? "h1" : "";
      if (agrees.is_array() && i - 1 < agrees.size() && agrees[i - 1] == json(false)) style += " other";
      title += value.is_number() ? " KL " + short_number(value.get<double>()) : " KL -";
    }
    out += fmt::format("<span class=\"{}\" title=\"{}\">{}</span>", style, escaped(title), shown_piece);
  }
  const std::string more =
      ids.size() > most_tokens
          ? fmt::format("<p class=\"about\">{}</p>", escaped(say(l, "cut_list", ids.size() - most_tokens)))
          : std::string();
  return fmt::format("<h3>{}</h3><p class=\"about\">{}</p><div class=\"script\">{}</div>{}\n",
                     escaped(word(l, "section.script")), escaped(word(l, "about.script")), out, more);
}

}  // namespace tetrad::parity
