#include "parity/fields.h"
#include "parity/report/figures.h"
#include "parity/report/html_sections.h"
#include "parity/report/sentences.h"
#include "parity/report/svg_plot.h"
#include "parity/report/tokens.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace tetrad::parity {

using nlohmann::json;

namespace {

constexpr std::size_t most_updates = 200;

std::string badge(const json& arm, Language l) {
  const std::string verdict = text(arm, "verdict/word");
  return fmt::format("<span class=\"badge {}\">{}</span>", escaped(verdict), escaped(verdict_text(arm, l)));
}

// A table with a row for each arm, and under it what its columns mean.
std::string arm_table(const json& report, const std::vector<Column>& columns, bool with_verdict, Language l) {
  if (columns.empty() && !with_verdict) return {};
  std::string head = fmt::format("<th>{}</th>", escaped(word(l, "arm")));
  if (with_verdict) head += fmt::format("<th class=\"text\">{}</th>", escaped(word(l, "verdict")));
  std::string about;
  for (const Column& column : columns) {
    const std::string explained = word_or(l, "about.", column.key);
    head += fmt::format("<th{} title=\"{}\">{}</th>", column.left ? " class=\"text\"" : "",
                        escaped(explained), escaped(word(l, column.key)));
    about += fmt::format("<dt>{}</dt><dd>{}</dd>", escaped(word(l, column.key)), escaped(explained));
  }
  std::string rows;
  for (const json& arm : at(report, "arms")) {
    rows += fmt::format("<tr><td>{}</td>", escaped(text(arm, "label")));
    if (with_verdict) rows += fmt::format("<td class=\"text\">{}</td>", badge(arm, l));
    for (const Column& column : columns) {
      const std::string cell = column.show(arm, l);
      rows += fmt::format("<td class=\"{}{}\" data-name=\"{}\">{}</td>", column.left ? "text wrap" : "",
                          cell == "-" ? " nothing" : "", escaped(word(l, column.key)), escaped(cell));
    }
    rows += "</tr>\n";
  }
  return fmt::format(
      "<div class=\"scroll\"><table "
      "class=\"stack\"><thead><tr>{}</tr></thead><tbody>\n{}</tbody></table></div>\n"
      "<dl>{}</dl>\n",
      head, rows, about);
}

std::string updates_table(const json& arm, Language l) {
  const json& updates = at(arm, "against_reference/training/updates");
  if (!updates.is_array() || updates.empty()) return {};
  std::vector<const json*> worst;
  for (const json& one : updates) worst.push_back(&one);
  const auto error = [](const json* one) { return number(*one, "error").value_or(HUGE_VAL); };
  std::stable_sort(worst.begin(), worst.end(),
                   [&](const json* a, const json* b) { return error(a) > error(b); });
  std::string rows;
  for (std::size_t i = 0; i < std::min(worst.size(), most_updates); ++i) {
    rows += fmt::format("<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>\n",
                        escaped(text(*worst[i], "tensor")), short_number(number(*worst[i], "error")),
                        short_number(number(*worst[i], "cosine")));
  }
  const std::string more =
      worst.size() > most_updates
          ? fmt::format("<p class=\"about\">{}</p>", escaped(say(l, "cut_list", worst.size() - most_updates)))
          : std::string();
  return fmt::format(
      "<details><summary>{}: {}</summary><div "
      "class=\"scroll\"><table><thead><tr><th>{}</th><th>{}</th><th>{}</th>"
      "</tr></thead><tbody>\n{}</tbody></table></div>{}</details>\n",
      escaped(text(arm, "label")), escaped(word(l, "section.updates")), escaped(word(l, "tensor")),
      escaped(word(l, "error")), escaped(word(l, "cosine")), rows, more);
}

}  // namespace

std::string html_section(std::string_view title, const std::string& body) {
  return fmt::format("<section>\n<h2>{}</h2>\n{}</section>\n", escaped(title), body);
}

std::string html_agreement(const json& report, Language l) {
  // Numbers first; what is told in words needs the width for itself.
  std::vector<Column> numbers;
  std::vector<Column> words;
  for (const Column& column : agreement_columns(report)) (column.left ? words : numbers).push_back(column);
  return html_section(say(l, "section.agreement", reference_label(report)),
                      arm_table(report, numbers, true, l) + arm_table(report, words, false, l));
}

std::string html_speed(const json& report, Language l) {
  const std::vector<Column> columns = speed_columns(report);
  if (columns.empty()) return {};
  return html_section(word(l, "section.speed"), arm_table(report, columns, false, l));
}

std::string html_training(const json& report, Language l) {
  const std::vector<Column> columns = training_columns(report);
  if (columns.empty()) return {};
  std::string body = arm_table(report, columns, false, l);
  for (const json& arm : at(report, "arms")) body += updates_table(arm, l);
  return html_section(word(l, "section.training"), body);
}

std::string html_checks(const json& report, const json& arm, Language l) {
  std::string out;
  const json& reasons = at(arm, "verdict/reasons");
  if (reasons.is_array() && !reasons.empty()) {
    out += "<ul class=\"reasons\">";
    for (const json& reason : reasons) out += fmt::format("<li>{}</li>", escaped(reason_text(reason, l)));
    out += "</ul>\n";
  }
  std::string rows;
  for (const json& check : at(arm, "checks")) {
    const bool ok = at(check, "ok") == json(true);
    const std::string figure = text(check, "figure");
    const std::string source = text(check, "source");
    rows += fmt::format(
        "<tr><td>{}</td><td data-name=\"{}\">{}</td><td data-name=\"{}\">{}</td><td class=\"text\" "
        "data-name=\"{}\">{}"
        "</td><td class=\"text\"><span class=\"badge {}\">{}</span></td><td class=\"text wrap "
        "about\">{}</td></tr>\n",
        escaped(word_or(l, "figure.", figure)), escaped(word(l, "measured")),
        short_number(number(check, "measured")), escaped(word(l, "allowed")),
        short_number(number(check, "allowed")), escaped(word(l, "source")),
        escaped(word_or(l, "source.", source)), ok ? "pass" : "fail", escaped(word(l, ok ? "ok" : "beyond")),
        escaped(word_or(l, "about.figure.", figure)));
  }
  if (!rows.empty()) {
    out += fmt::format(
        "<h3>{}</h3><div class=\"scroll\"><table class=\"stack\"><thead><tr><th>{}</th><th>{}</th><th>{}</th>"
        "<th class=\"text\">{}</th><th "
        "class=\"text\">{}</th><th></th></tr></thead><tbody>\n{}</tbody></table></div>\n",
        escaped(word(l, "section.checks")), escaped(word(l, "check")), escaped(word(l, "measured")),
        escaped(word(l, "allowed")), escaped(word(l, "source")), escaped(word(l, "result")), rows);
    bool noise = false;
    for (const json& check : at(arm, "checks")) noise = noise || text(check, "source") == "self-noise";
    if (noise) {
      const json& self = at(report, "self_noise");
      out += fmt::format(
          "<p class=\"about\">{}</p>\n",
          escaped(say(l, "about.source.self-noise", short_number(number(self, "arms")),
                      short_number(number(self, "kl_max")), short_number(number(self, "factor")))));
    }
    out += fmt::format("<p class=\"about\">{}</p>\n", escaped(word(l, "about.source.contract")));
  }
  rows.clear();
  for (const json& one : at(arm, "differs")) {
    const auto value = [](const json& v) { return v.is_string() ? v.get<std::string>() : v.dump(); };
    rows +=
        fmt::format("<tr><td><code>{}</code></td><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>\n",
                    escaped(text(one, "key")), escaped(value(at(one, "a"))), escaped(value(at(one, "b"))));
  }
  if (!rows.empty()) {
    out += fmt::format(
        "<h3>{}</h3><div class=\"scroll\"><table><thead><tr><th>{}</th><th class=\"text\">{}</th>"
        "<th class=\"text\">{}</th></tr></thead><tbody>\n{}</tbody></table></div>\n",
        escaped(word(l, "section.differs")), escaped(word(l, "key")), escaped(reference_label(report)),
        escaped(text(arm, "label")), rows);
  }
  return out;
}

}  // namespace tetrad::parity
