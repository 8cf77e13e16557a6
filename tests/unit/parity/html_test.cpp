// The page: nothing of a model's text is markup, nothing is fetched, every element is closed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <regex>

#include "parity/report/report.h"
#include "parity/report/svg_plot.h"
#include "rich_report.h"

namespace tetrad::parity {
namespace {

using nlohmann::json;
using test::rich_report;
using ::testing::HasSubstr;
using ::testing::Not;

// Whether every element that is opened is closed in order; "" or what is wrong.
std::string structure(const std::string& html) {
  static const std::set<std::string> empty = {"meta", "line", "rect", "polyline", "!doctype", "br"};
  std::vector<std::string> open;
  const std::size_t style = html.find("<style>");
  const std::size_t style_end = html.find("</style>");
  for (std::size_t at = html.find('<'); at != html.npos; at = html.find('<', at + 1)) {
    if (at > style && at < style_end) continue;
    const std::size_t end = html.find('>', at);
    if (end == html.npos) return "a tag without an end";
    const std::string tag = html.substr(at + 1, end - at - 1);
    const bool closing = tag.starts_with("/");
    const std::string name = tag.substr(closing ? 1 : 0, tag.find_first_of(" \n/", 1) - (closing ? 1 : 0));
    if (closing) {
      if (open.empty() || open.back() != name)
        return "</" + name + "> where " + (open.empty() ? "-" : open.back());
      open.pop_back();
    } else if (!empty.contains(name) && !tag.ends_with("/")) {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : open.back() + " is not closed";
}

TEST(Html, IsWellFormedInBothLanguages) {
  const json report = rich_report();
  for (const Language language : {Language::english, Language::traditional_chinese}) {
    EXPECT_EQ(structure(html_report(report, language)), "");
  }
}

TEST(Html, NothingOfTheModelsTextIsMarkup) {
  const std::string html = html_report(rich_report(), Language::english);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39;&amp;"));
  EXPECT_THAT(html, Not(HasSubstr("\x1b")));
  EXPECT_THAT(html, Not(HasSubstr("\u202E")));
}

TEST(Html, FetchesNothingAndRunsNothing) {
  const std::string html = html_report(rich_report(), Language::english);
  EXPECT_FALSE(std::regex_search(html, std::regex("(src|href)=|url\\(|@import|https?://")));
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  EXPECT_THAT(html, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(html, HasSubstr("width=device-width"));
}

TEST(Html, HasItsPlotsAndLanguage) {
  const std::string en = html_report(rich_report(), Language::english);
  EXPECT_THAT(en, HasSubstr("lang=\"en\""));
  EXPECT_THAT(en, HasSubstr("KL divergence over the conversation"));
  EXPECT_THAT(en, HasSubstr("Error of the hidden states"));
  EXPECT_THAT(en, HasSubstr("Speed against memory"));
  EXPECT_THAT(en, HasSubstr("<mark"));
  const std::string zh = html_report(rich_report(), Language::traditional_chinese);
  EXPECT_THAT(zh, HasSubstr("lang=\"zh-Hant-TW\""));
  EXPECT_THAT(zh, HasSubstr("對話各位置的 KL 散度"));
}

TEST(Html, ReportsWithLittleInThem) {
  json report = rich_report();
  for (json& arm : report["arms"]) arm["figures"] = arm["against_reference"] = nullptr;
  EXPECT_EQ(structure(html_report(report, Language::english)), "");
  EXPECT_EQ(structure(html_report({{"format", "x"}}, Language::english)), "");
}

// Every coordinate of a plot lies inside its view box and is a number.
void expect_inside(const std::string& svg, int width, int height) {
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  const std::regex points("points=\"([^\"]*)\"");
  for (std::sregex_iterator it(svg.begin(), svg.end(), points), end; it != end; ++it) {
    std::istringstream in((*it)[1].str());
    double x = 0;
    double y = 0;
    char comma = 0;
    while (in >> x >> comma >> y) {
      EXPECT_TRUE(x >= 0 && x <= width && y >= 0 && y <= height) << x << "," << y;
    }
  }
}

TEST(Plot, StaysInsideWhateverTheValues) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<std::vector<std::optional<double>>> all = {
      {0.0},           {0.0, 0.0},  {1.0},      {1e-300, 1e300},   {std::nullopt, 1.0, std::nullopt},
      {1.0, inf, 2.0}, {-5.0, 5.0}, {3.0, 3.0}, {1e-9, 0.0, 1e-3}, {NAN, 1.0}};
  for (const auto& y : all) {
    for (const bool log : {false, true}) {
      Plot plot;
      plot.log_y = log;
      PlotSeries series{"s", 0, {}, y, false};
      for (std::size_t i = 0; i < y.size(); ++i) series.x.push_back(static_cast<double>(i));
      plot.series = {series};
      plot.shaded = {{-1, 100}};
      expect_inside(line_plot(plot, 350, 260), 350, 260);
    }
  }
  EXPECT_EQ(line_plot({}, 350, 260), "");
  Plot nothing;
  nothing.series = {{"s", 0, {0}, {std::nullopt}, false}};
  EXPECT_EQ(line_plot(nothing, 350, 260), "");
}

TEST(Plot, ManyPointsKeepTheirPeak) {
  Plot plot;
  PlotSeries series{"s", 0, {}, {}, false};
  for (int i = 0; i < 100'000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i == 54'321 ? 9.0 : 1.0);
  }
  plot.series = {series};
  const std::string svg = line_plot(plot, 860, 330);
  EXPECT_LT(svg.size(), 40'000U);
  double least = 1e9;  // the peak is the only point that is high up
  const std::regex pair("([0-9.]+),([0-9.]+)");
  for (std::sregex_iterator it(svg.begin(), svg.end(), pair), end; it != end; ++it) {
    least = std::min(least, std::stod((*it)[2].str()));
  }
  EXPECT_LT(least, 80);
}

TEST(Plot, ScatterNeedsPositiveValues) {
  EXPECT_EQ(scatter_plot({}, "x", "y", 350, 260), "");
  EXPECT_EQ(scatter_plot({{"a", 0, 0, 0}}, "x", "y", 350, 260), "");
  EXPECT_THAT(scatter_plot({{"<a>", 1, 2, 0}, {"b", 1, 2, 1}}, "x", "y", 350, 260), HasSubstr("&lt;a&gt;"));
}

}  // namespace
}  // namespace tetrad::parity
