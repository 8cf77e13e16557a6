#include "parity/fields.h"
#include "parity/report/figures.h"
#include "parity/report/report.h"
#include "parity/report/sentences.h"
#include "parity/report/text_table.h"
#include "parity/report/tokens.h"
#include "parity/report/width.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace tetrad::parity {

using nlohmann::json;

namespace {

constexpr std::size_t most_arms_in_detail =
    12;  // of 100 arms, the table tells; texts of all would not be read
constexpr const char* reset = "\x1b[0m";

class Terminal {
 public:
  Terminal(const json& report, Language language, int columns, bool colour)
      : report_(report), l_(language), width_(std::max(40, columns)), colour_(colour) {}

  std::string take() {
    heading();
    table("section.agreement", agreement_columns(report_), true);
    table("section.training", training_columns(report_), false);
    table("section.speed", speed_columns(report_), false);
    reasons();
    first_tokens();
    texts();
    explanations();
    return std::move(out_);
  }

 private:
  const char* colour_of(const std::string& word) const {
    if (!colour_) return "";
    if (word == "pass") return "\x1b[32m";
    if (word == "fail" || word == "failed") return "\x1b[31m";
    if (word == "not_comparable") return "\x1b[33m";
    return "";
  }

  std::string bold(const std::string& text) const { return colour_ ? "\x1b[1m" + text + reset : text; }

  void line(const std::string& text = "") { out_ += text + "\n"; }

  void paragraph(const std::string& text, const std::string& indent = "", const std::string& further = "") {
    const int room = width_ - std::max(columns_of(indent), columns_of(further));
    bool first = true;
    for (const std::string& part : wrapped(text, room)) {
      line((first ? indent : further) + part);
      first = false;
    }
  }

  void section(const std::string& title) {
    line();
    for (const std::string& part : wrapped(title, width_)) line(bold(part));
  }

  void heading() {
    const std::string verdict = text(report_, "verdict/word");
    const auto code = number(report_, "verdict/exit_code");
    const std::string plain =
        fmt::format("{}{}{}{}", word(l_, "title"), word(l_, "colon"), word_or(l_, "verdict.", verdict),
                    say(l_, "brackets", say(l_, "exit_code", short_number(code))));
    const char* colour = colour_of(verdict);
    line(colour_ ? fmt::format("\x1b[1m{}{}{}", colour, plain, reset) : plain);
    for (const std::string& sentence : sentences(report_, l_)) paragraph(sentence, "  ", "  ");
  }

  std::vector<RowStyle> styles() const {
    std::vector<RowStyle> result;
    for (const json& arm : at(report_, "arms")) {
      const std::string colour = colour_of(text(arm, "verdict/word"));
      result.push_back({colour, colour.empty() ? "" : reset});
    }
    return result;
  }

  void table(const char* title, const std::vector<Column>& columns, bool with_verdict) {
    if (columns.empty() && !with_verdict) return;
    section(say(l_, title, reference_label(report_)));
    std::vector<TableColumn> cells = {{std::string(word(l_, "arm")), Align::left, {}}};
    if (with_verdict) cells.push_back({std::string(word(l_, "verdict")), Align::left, {}});
    for (const Column& column : columns) {
      cells.push_back({std::string(word(l_, column.key)), column.left ? Align::left : Align::right, {}});
    }
    for (const json& arm : at(report_, "arms")) {
      std::size_t next = 0;
      cells[next++].cells.push_back(shown(text(arm, "label")));
      if (with_verdict) cells[next++].cells.push_back(verdict_text(arm, l_));
      for (const Column& column : columns) cells[next++].cells.push_back(column.show(arm, l_));
    }
    out_ += text_table(cells, width_, styles());
  }

  void reasons() {
    bool titled = false;
    for (const json& arm : at(report_, "arms")) {
      for (const json& reason : at(arm, "verdict/reasons")) {
        if (!titled) section(std::string(word(l_, "section.reasons")));
        titled = true;
        paragraph(
            fmt::format("{}{}{}", shown(text(arm, "label")), word(l_, "colon"), reason_text(reason, l_)),
            "  ", "    ");
      }
    }
  }

  void first_tokens() {
    std::vector<TableColumn> columns = {{std::string(word(l_, "rank")), Align::left, {}}};
    std::size_t ranks = 0;
    for (const json& arm : at(report_, "arms")) {
      const json& top = at(arm, "figures/first_token/top");
      if (top.is_array()) ranks = std::max(ranks, top.size());
    }
    if (ranks == 0) return;
    for (std::size_t i = 0; i < ranks; ++i) columns[0].cells.push_back(fmt::format("{}", i + 1));
    for (const json& arm : at(report_, "arms")) {
      const json& top = at(arm, "figures/first_token/top");
      if (!top.is_array() || columns.size() > most_arms_in_detail) continue;
      TableColumn column{shown(text(arm, "label")), Align::left, {}};
      for (std::size_t i = 0; i < ranks; ++i) {
        if (i >= top.size()) {
          column.cells.emplace_back("-");
          continue;
        }
        column.cells.push_back(fmt::format("{} {}", token_text(top[i]), percent(number(top[i], "prob"))));
      }
      columns.push_back(std::move(column));
    }
    section(std::string(word(l_, "section.first_token")));
    paragraph(std::string(word(l_, "about.first_token")));
    out_ += text_table(columns, width_);
  }

  // The answer of one turn, its first diverging token between brackets.
  std::string answer(const json& turn, std::optional<std::size_t> marked) const {
    const json& pieces = at(turn, "pieces");
    if (!pieces.is_array() || !marked) return shown(text(turn, "text"));
    std::string out;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const std::string piece =
          pieces[i].is_string() ? shown(pieces[i].get<std::string>()) : piece_text(pieces[i]);
      out += i == *marked ? fmt::format("⟦{}⟧", piece) : piece;
    }
    if (*marked >= pieces.size()) out += fmt::format("⟦{}⟧", word(l_, "ended"));
    return out;
  }

  void texts() {
    const auto reference = number(report_, "reference");
    const json* first = nullptr;
    for (const json& arm : at(report_, "arms")) {
      if (number(arm, "index") == reference) first = &arm;
    }
    if (first == nullptr || !at(*first, "figures/greedy").is_array() || at(*first, "figures/greedy").empty())
      return;
    section(std::string(word(l_, "section.text")));
    paragraph(std::string(word(l_, "about.text")));
    const json& turns = at(*first, "figures/greedy");
    for (std::size_t turn = 0; turn < turns.size(); ++turn) {
      line("  " + say(l_, "turn", turn + 1));
      paragraph(fmt::format("{}{}{}", shown(text(*first, "label")), word(l_, "colon"),
                            answer(turns[turn], std::nullopt)),
                "  ", "    ");
      std::size_t detailed = 0;
      for (const json& arm : at(report_, "arms")) {
        const json& own = at(arm, "figures/greedy");
        if (&arm == first || !own.is_array() || turn >= own.size()) continue;
        const json& divergence = at(arm, "against_reference/text_divergence");
        const auto at_turn = number(divergence, "turn");
        std::optional<std::size_t> marked;
        if (at_turn == static_cast<double>(turn + 1)) {
          marked = static_cast<std::size_t>(number(divergence, "token").value_or(0));
        } else if (!at_turn || *at_turn > static_cast<double>(turn + 1)) {
          paragraph(
              fmt::format("{}{}= {}", shown(text(arm, "label")), word(l_, "colon"), word(l_, "same_text")),
              "  ", "    ");
          continue;
        }
        if (++detailed > most_arms_in_detail) continue;
        paragraph(
            fmt::format("{}{}{}", shown(text(arm, "label")), word(l_, "colon"), answer(own[turn], marked)),
            "  ", "    ");
      }
    }
  }

  void explanations() {
    section(std::string(word(l_, "section.words")));
    std::set<std::string> sources;
    for (const json& arm : at(report_, "arms")) {
      for (const json& check : at(arm, "checks")) sources.insert(text(check, "source"));
    }
    for (const auto& columns :
         {agreement_columns(report_), training_columns(report_), speed_columns(report_)}) {
      for (const Column& column : columns) {
        const std::string about = word_or(l_, "about.", column.key);
        paragraph(fmt::format("{}{}{}", word(l_, column.key), word(l_, "colon"), about), "  ", "    ");
      }
    }
    for (const std::string& source : sources) {
      if (source == "self-noise") {
        const json& noise = at(report_, "self_noise");
        paragraph(say(l_, "about.source.self-noise", short_number(number(noise, "arms")),
                      short_number(number(noise, "kl_max")), short_number(number(noise, "factor"))),
                  "  ", "    ");
      } else if (!source.empty()) {
        paragraph(word_or(l_, "about.source.", source), "  ", "    ");
      }
    }
  }

  const json& report_;
  Language l_;
  int width_;
  bool colour_;
  std::string out_;
};

}  // namespace

std::string terminal_report(const json& report, Language language, int columns, bool colour) {
  return Terminal(report, language, columns, colour).take();
}

}  // namespace tetrad::parity
