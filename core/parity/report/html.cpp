#include "parity/fields.h"
#include "parity/report/figures.h"
#include "parity/report/html_sections.h"
#include "parity/report/html_style.h"
#include "parity/report/report.h"
#include "parity/report/sentences.h"
#include "parity/report/svg_plot.h"
#include "parity/report/tokens.h"

#include <nlohmann/json.hpp>

namespace tetrad::parity {

using nlohmann::json;

namespace {

// "20261123T092801Z" as "2026-11-23 09:28 UTC"; anything else as it is.
std::string readable_time(const std::string& stamp) {
  if (stamp.size() != 16 || stamp[8] != 'T') return stamp;
  return fmt::format("{}-{}-{} {}:{} UTC", stamp.substr(0, 4), stamp.substr(4, 2), stamp.substr(6, 2),
                     stamp.substr(9, 2), stamp.substr(11, 2));
}

std::string heading(const json& report, Language l) {
  const std::string verdict = text(report, "verdict/word");
  std::string out =
      fmt::format("<header>\n<h1>{} <span class=\"badge {}\">{}</span></h1>\n<ol class=\"sentences\">\n",
                  escaped(word(l, "title")), escaped(verdict), escaped(word_or(l, "verdict.", verdict)));
  for (const std::string& sentence : sentences(report, l))
    out += fmt::format("<li>{}</li>\n", escaped(sentence));
  return out + "</ol>\n</header>\n";
}

std::string arm_details(const json& report, Language l) {
  std::string body;
  for (const json& arm : at(report, "arms")) {
    const std::string inside = html_checks(report, arm, l) + html_script(report, arm, l);
    if (inside.empty()) continue;
    const std::string verdict = text(arm, "verdict/word");
    body += fmt::format(
        "<details class=\"arm\"{}><summary>{} <span class=\"badge {}\">{}</span></summary>\n{}</details>\n",
        verdict == "pass" ? "" : " open", escaped(text(arm, "label")), escaped(verdict),
        escaped(verdict_text(arm, l)), inside);
  }
  return body.empty() ? std::string() : html_section(word(l, "section.checks"), body);
}

}  // namespace

std::string html_report(const json& report, Language l) {
  const bool chinese = l == Language::traditional_chinese;
  const std::string when = readable_time(text(report, "plan/created_utc"));
  return fmt::format(
             "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             // Nothing may be fetched and nothing may run, whatever a token contains.
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
             "'unsafe-inline'\">\n"
             "<title>{}: {}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n",
             chinese ? "zh-Hant-TW" : "en", escaped(word(l, "title")),
             escaped(word_or(l, "verdict.", text(report, "verdict/word"))), html_style) +
         heading(report, l) + html_agreement(report, l) + html_kl_plot(report, l) +
         html_layer_plot(report, l) + html_training(report, l) + html_loss_plot(report, l) +
         html_speed(report, l) + html_speed_plot(report, l) + html_first_tokens(report, l) +
         html_texts(report, l) + arm_details(report, l) +
         fmt::format("<footer>{}</footer>\n</main>\n</body>\n</html>\n",
                     escaped(say(l, "made", "Tetrad", when.empty() ? "-" : when)));
}

}  // namespace tetrad::parity
