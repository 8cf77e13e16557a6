#include "parity/fields.h"
#include "parity/report/html_sections.h"
#include "parity/report/svg_plot.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace tetrad::parity {

using nlohmann::json;

namespace {

constexpr std::size_t most_curves = 12;  // the arms that fail first, see arms_by_interest

struct Curve {
  const json* arm;
  std::size_t colour;
};

bool has_list(const json& arm, const char* pointer) {
  const json& list = at(arm, pointer);
  return list.is_array() && !list.empty();
}

// Arms that have this list; those that fail come first when there are more than can be told apart.
std::vector<Curve> curves(const json& report, const char* pointer) {
  std::vector<Curve> result;
  std::size_t colour = 0;
  for (const json& arm : at(report, "arms")) {
    if (has_list(arm, pointer)) result.push_back({&arm, colour});
    ++colour;  // an arm's colour is the same in every plot
  }
  if (result.size() > most_curves) {
    std::stable_partition(result.begin(), result.end(),
                          [](const Curve& c) { return text(*c.arm, "verdict/word") != "pass"; });
    result.resize(most_curves);
  }
  return result;
}

std::string both_widths(const Plot& plot) {
  const std::string wide = line_plot(plot, 860, 330);
  if (wide.empty()) return {};
  return "<div class=\"wide\">" + wide + "</div><div class=\"narrow\">" + line_plot(plot, 350, 260) +
         "</div>\n";
}

std::string legend(const std::vector<Curve>& shown) {
  std::string out = "<ul class=\"legend\">";
  for (const Curve& curve : shown) {
    out += fmt::format("<li><span class=\"swatch s{}\"></span>{}</li>", curve.colour % 8,
                       escaped(text(*curve.arm, "label")));
  }
  return out + "</ul>\n";
}

std::string section(Language l, const char* title, const char* about, const std::string& plot,
                    const std::vector<Curve>& shown) {
  if (plot.empty()) return {};
  return html_section(word(l, title), fmt::format("<p class=\"about\">{}</p>\n", escaped(word(l, about))) +
                                          plot + legend(shown));
}

std::vector<std::optional<double>> numbers(const json& list) {
  std::vector<std::optional<double>> result;
  for (const json& value : list) {
    result.push_back(value.is_number() ? std::optional(value.get<double>()) : std::nullopt);
  }
  return result;
}

std::vector<double> counted(std::size_t n, double first) {
  std::vector<double> result(n);
  for (std::size_t i = 0; i < n; ++i) result[i] = first + static_cast<double>(i);
  return result;
}

}  // namespace

std::string html_kl_plot(const json& report, Language l) {
  const std::vector<Curve> shown = curves(report, "against_reference/kl");
  Plot plot;
  plot.log_y = true;
  plot.x_label = word(l, "position");
  plot.y_label = "KL";
  double last = 0;
  for (const Curve& curve : shown) {
    PlotSeries series{
        text(*curve.arm, "label"), curve.colour, {}, numbers(at(*curve.arm, "against_reference/kl")), false};
    series.x = counted(series.y.size(), 0);
    last = std::max(last, static_cast<double>(series.y.size()) - 1);
    plot.series.push_back(std::move(series));
  }
  std::map<double, std::size_t> limits;  // allowed KL -> colour of the first arm that it holds for
  for (const Curve& curve : shown) {
    for (const json& check : at(*curve.arm, "checks")) {
      if (text(check, "figure") != "kl") continue;
      if (const auto allowed = number(check, "allowed"); allowed && *allowed > 0) {
        limits.emplace(*allowed, curve.colour);
      }
    }
  }
  if (limits.size() <= 4) {
    for (const auto& [allowed, colour] : limits) {
      plot.series.push_back({"", colour, {0, last}, {allowed, allowed}, true});
    }
  }
  for (const json& segment : at(report, "script/segments")) {
    if (text(segment, "kind") != "answer") continue;
    // Position i predicts token i + 1.
    plot.shaded.emplace_back(number(segment, "begin").value_or(0) - 1,
                             number(segment, "end").value_or(0) - 1);
  }
  return section(l, "section.kl", "about.kl_plot", both_widths(plot), shown);
}

std::string html_layer_plot(const json& report, Language l) {
  const std::vector<Curve> shown = curves(report, "against_reference/layers");
  Plot plot;
  plot.log_y = true;
  plot.x_label = word(l, "layer_axis");
  plot.y_label = word(l, "error");
  for (const Curve& curve : shown) {
    const json& layers = at(*curve.arm, "against_reference/layers");
    PlotSeries errors{text(*curve.arm, "label"), curve.colour, counted(layers.size(), 0), {}, false};
    PlotSeries limits{"", curve.colour, errors.x, {}, true};
    const json& first = at(*curve.arm, "against_reference/first_layer_beyond");
    for (std::size_t i = 0; i < layers.size(); ++i) {
      errors.y.push_back(number(layers[i], "error"));
      limits.y.push_back(number(layers[i], "tolerance"));
      if (first.is_object() && at(first, "layer") == at(layers[i], "layer") &&
          at(first, "tensor") == at(layers[i], "tensor")) {
        plot.rings.push_back({static_cast<double>(i), errors.y.back().value_or(0), curve.colour,
                              fmt::format("{}: {} {}", text(*curve.arm, "label"), at(first, "layer").dump(),
                                          text(first, "tensor"))});
      }
    }
    plot.series.push_back(std::move(errors));
    if (shown.size() <= 4 || first.is_object()) plot.series.push_back(std::move(limits));
  }
  if (!shown.empty()) {
    const json& layers = at(*shown.front().arm, "against_reference/layers");
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (i == 0 || at(layers[i], "layer") != at(layers[i - 1], "layer")) {
        plot.x_ticks.emplace_back(static_cast<double>(i), at(layers[i], "layer").dump());
      }
    }
  }
  return section(l, "section.layers", "about.layers_plot", both_widths(plot), shown);
}

std::string html_speed_plot(const json& report, Language l) {
  std::vector<PlotPoint> points;
  std::string list = "<ol class=\"legend\">";
  bool device = false;
  for (const json& arm : at(report, "arms")) {
    device = device || number(arm, "figures/memory/device_peak_bytes").value_or(0) > 0;
  }
  for (const json& arm : at(report, "arms")) {
    const auto bytes =
        number(arm, device ? "figures/memory/device_peak_bytes" : "figures/memory/host_peak_bytes");
    const auto rate = number(arm, "figures/timing/decode_tok_s");
    if (!bytes || !rate || *rate <= 0) continue;
    const auto colour = static_cast<std::size_t>(number(arm, "index").value_or(0));
    points.push_back({text(arm, "label"), *bytes / (1024.0 * 1024 * 1024), *rate, colour});
    list += fmt::format("<li><span class=\"swatch s{}\"></span>{}. {}</li>", colour % 8, points.size(),
                        escaped(points.back().label));
  }
  if (points.size() < 2) return {};
  const std::string x(word(l, "memory_axis"));
  const std::string y(word(l, "decode"));
  const std::string wide = scatter_plot(points, x, y, 860, 330);
  if (wide.empty()) return {};
  return html_section(
      word(l, "section.speed_memory"),
      fmt::format("<p class=\"about\">{}</p>\n<div class=\"wide\">{}</div><div class=\"narrow\">{}</div>"
                  "{}</ol>\n",
                  escaped(word(l, "about.speed_plot")), wide, scatter_plot(points, x, y, 350, 260), list));
}

std::string html_loss_plot(const json& report, Language l) {
  const std::vector<Curve> shown = curves(report, "figures/training/losses");
  Plot plot;
  plot.x_label = word(l, "step");
  plot.y_label = word(l, "loss");
  for (const Curve& curve : shown) {
    PlotSeries series{text(*curve.arm, "label"),
                      curve.colour,
                      {},
                      numbers(at(*curve.arm, "figures/training/losses")),
                      false};
    series.x = counted(series.y.size(), 1);
    plot.series.push_back(std::move(series));
  }
  return section(l, "section.losses", "about.loss_plot", both_widths(plot), shown);
}

}  // namespace tetrad::parity
