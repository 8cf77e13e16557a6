#include "parity/report/svg_plot.h"

#include "parity/report/width.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tetrad::parity {

namespace {

constexpr double left = 52, right = 12, top = 22, bottom = 38;
constexpr double zero_band = 14;  // below the least decade, where zeros lie
constexpr std::size_t colours = 8;

// 1, 2 or 5 times a power of ten, so that about `count` steps cover `range`.
double round_step(double range, int count) {
  const double raw = range / std::max(1, count);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (raw <= factor * power) return factor * power;
  }
  return 10 * power;
}

std::string number_label(double value) {
  if (value == 0) return "0";
  const double size = std::fabs(value);
  if (size >= 1e5 || size < 1e-3) return fmt::format("{:.3g}", value);
  return fmt::format("{:.4g}", value);
}

struct Scale {
  double low = 0, high = 1;  // of the values, or of their decimal logarithms
  bool log = false;
  bool zeros = false;
  double from = 0, to = 1;  // pixels

  double at(double value) const {
    double v = value;
    if (log) {
      if (value <= 0) return from;
      v = std::log10(value);
    }
    const double begin = log && zeros ? from + (to < from ? -zero_band : zero_band) : from;
    const double share = high > low ? (v - low) / (high - low) : 0.5;
    return begin + std::clamp(share, 0.0, 1.0) * (to - begin);
  }
};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  bool empty() const { return low > high; }
};

class Drawing {
 public:
  Drawing(int width, int height) : width_(width), height_(height) {
    out_ = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" class=\"plot\">\n", width, height);
  }

  void frame(const std::string& x_label, const std::string& y_label) {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{}\" class=\"label\" text-anchor=\"middle\">{}</text>\n",
                        (left + width_ - right) / 2, height_ - 6, escaped(x_label));
    out_ += fmt::format("<text x=\"4\" y=\"13\" class=\"label\">{}</text>\n", escaped(y_label));
  }

  void x_tick(double x, const std::string& label, bool line) {
    if (line) {
      out_ += fmt::format("<line x1=\"{0:.1f}\" y1=\"{1}\" x2=\"{0:.1f}\" y2=\"{2}\" class=\"grid\"/>\n", x,
                          top, height_ - bottom);
    }
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{}\" class=\"tick\" text-anchor=\"middle\">{}</text>\n", x,
                        height_ - bottom + 14, escaped(label));
  }

  void y_tick(double y, const std::string& label) {
    out_ += fmt::format("<line x1=\"{1}\" y1=\"{0:.1f}\" x2=\"{2}\" y2=\"{0:.1f}\" class=\"grid\"/>\n", y,
                        left, width_ - right);
    out_ += fmt::format("<text x=\"{}\" y=\"{:.1f}\" class=\"tick\" text-anchor=\"end\">{}</text>\n",
                        left - 5, y + 4, escaped(label));
  }

  void shade(double from, double to) {
    out_ += fmt::format("<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"shade\"/>\n",
                        from, top, std::max(0.0, to - from), height_ - bottom - top);
  }

  void line(const std::vector<std::pair<double, double>>& points, std::size_t colour, bool limit) {
    if (points.empty()) return;
    const char* kind = limit ? " limit" : colour >= colours ? " far" : "";
    if (points.size() == 1 && !limit) {
      circle(points[0].first, points[0].second, colour, 3, "");
      return;
    }
    out_ += fmt::format("<polyline class=\"line s{}{}\" points=\"", colour % colours, kind);
    for (const auto& [x, y] : points) out_ += fmt::format("{:.1f},{:.1f} ", x, y);
    out_.back() = '"';
    out_ += "/>\n";
  }

  void circle(double x, double y, std::size_t colour, double radius, const std::string& title,
              bool ring = false) {
    out_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" class=\"{} s{}\">", x, y, radius,
                        ring ? "ring" : "dot", colour % colours);
    if (!title.empty()) out_ += fmt::format("<title>{}</title>", escaped(title));
    out_ += "</circle>\n";
  }

  void text(double x, double y, const std::string& value, const char* style) {
    out_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\" text-anchor=\"middle\">{}</text>\n", x,
                        y, style, escaped(value));
  }

  std::string take() { return std::move(out_) + "</svg>\n"; }

 private:
  double width_, height_;
  std::string out_;
};

void value_ticks(Drawing& drawing, const Scale& scale, int count, bool vertical) {
  const auto tick = [&](double value, const std::string& label) {
    if (vertical) {
      drawing.y_tick(scale.at(value), label);
    } else {
      drawing.x_tick(scale.at(value), label, true);
    }
  };
  if (scale.log) {
    if (scale.zeros) tick(0, "0");
    const double step = std::max(1.0, std::ceil((scale.high - scale.low) / count));
    for (double decade = scale.low; decade <= scale.high + 1e-9; decade += step) {
      tick(std::pow(10.0, decade), decade >= -3 && decade <= 3 ? number_label(std::pow(10.0, decade))
                                                               : fmt::format("1e{:.0f}", decade));
    }
    return;
  }
  const double step = round_step(scale.high - scale.low, count);
  for (double value = std::ceil(scale.low / step) * step; value <= scale.high + step * 1e-9; value += step) {
    tick(std::fabs(value) < step * 1e-9 ? 0 : value,
         number_label(std::fabs(value) < step * 1e-9 ? 0 : value));
  }
}

// Many points are drawn as the greatest of each bucket: peaks are what one looks for.
constexpr std::size_t most_points = 600;

}  // namespace

std::string escaped(std::string_view raw) {
  std::string out;
  for (const char c : shown(raw)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string line_plot(const Plot& plot, int width, int height) {
  Range x;
  Range y;
  bool zeros = false;
  for (const PlotSeries& series : plot.series) {
    for (std::size_t i = 0; i < series.x.size(); ++i) {
      if (!series.y[i] || !std::isfinite(*series.y[i])) continue;
      x.add(series.x[i]);
      if (plot.log_y && *series.y[i] <= 0) {
        zeros = true;
      } else {
        y.add(plot.log_y ? std::log10(*series.y[i]) : *series.y[i]);
      }
    }
  }
  if (x.empty()) return {};
  if (y.empty()) y = {-9, 0};
  if (plot.log_y) {
    y = {std::floor(y.low), std::max(std::ceil(y.high), std::floor(y.low) + 1)};
  } else {
    const double room = y.high > y.low ? (y.high - y.low) * 0.08 : std::max(1e-9, std::fabs(y.high) * 0.1);
    y = {y.low - room, y.high + room};
  }
  const Scale xs{x.low, x.high, false, false, left, width - right};
  const Scale ys{y.low, y.high, plot.log_y, zeros, height - bottom, top};
  Drawing drawing(width, height);
  for (const auto& [from, to] : plot.shaded) drawing.shade(xs.at(from), xs.at(to));
  value_ticks(drawing, ys, 6, true);
  if (plot.x_ticks.empty()) {
    value_ticks(drawing, xs, width / 90, false);
  } else {
    double last = -1e9;  // labels that would overlap are left out
    for (const auto& [at, label] : plot.x_ticks) {
      if (xs.at(at) - last < 26) continue;
      last = xs.at(at);
      drawing.x_tick(last, label, true);
    }
  }
  for (const PlotSeries& series : plot.series) {
    std::vector<std::pair<double, double>> points;
    const std::size_t bucket = (series.x.size() + most_points - 1) / most_points;
    for (std::size_t i = 0; i < series.x.size(); i += std::max<std::size_t>(1, bucket)) {
      std::optional<double> greatest;
      double where = series.x[i];
      for (std::size_t j = i; j < std::min(series.x.size(), i + bucket); ++j) {
        if (!series.y[j] || !std::isfinite(*series.y[j]) || (greatest && *series.y[j] <= *greatest)) continue;
        greatest = series.y[j];
        where = series.x[j];
      }
      if (greatest) {
        points.emplace_back(xs.at(where), ys.at(*greatest));
      } else {
        drawing.line(points, series.colour, series.limit);  // a gap
        points.clear();
      }
    }
    drawing.line(points, series.colour, series.limit);
  }
  for (const PlotMark& ring : plot.rings) {
    drawing.circle(xs.at(ring.x), ys.at(ring.y), ring.colour, 6, ring.title, true);
  }
  drawing.frame(plot.x_label, plot.y_label);
  return drawing.take();
}

std::string scatter_plot(const std::vector<PlotPoint>& points, const std::string& x_label,
                         const std::string& y_label, int width, int height) {
  Range x{0, 0};  // both axes begin at 0: half as high is half as much
  Range y{0, 0};
  for (const PlotPoint& point : points) {
    x.add(point.x);
    y.add(point.y);
  }
  if (points.empty() || x.high <= 0 || y.high <= 0) return {};
  const Scale xs{0, x.high * 1.12, false, false, left, width - right};
  const Scale ys{0, y.high * 1.15, false, false, height - bottom, top};
  Drawing drawing(width, height);
  value_ticks(drawing, ys, 5, true);
  value_ticks(drawing, xs, width / 90, false);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double px = xs.at(points[i].x);
    const double py = ys.at(points[i].y);
    drawing.circle(
        px, py, points[i].colour, 5,
        fmt::format("{}: {} | {}", points[i].label, number_label(points[i].x), number_label(points[i].y)));
    // Numbers of points that lie on each other stand beside each other.
    std::size_t near = 0;
    for (std::size_t j = 0; j < i; ++j) {
      near += std::fabs(xs.at(points[j].x) - px) < 14 && std::fabs(ys.at(points[j].y) - py) < 12 ? 1 : 0;
    }
    drawing.text(px + 14 * static_cast<double>(near), py - 9, fmt::format("{}", i + 1), "tick");
  }
  drawing.frame(x_label, y_label);
  return drawing.take();
}

}  // namespace tetrad::parity
