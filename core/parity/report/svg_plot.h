// Plots as inline SVG: lines over a position, and labelled points. Colours come from the page's style
// (classes s0 to s7, told apart by dashes beyond that), so that one drawing serves the light and the dark
// look. Contract: everything drawn lies inside the view box; values that are missing leave a gap; on a
// logarithmic axis 0 is drawn on a line of its own at the bottom; labels are escaped.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tetrad::parity {

// Text for HTML and SVG, in elements and in quoted attributes, with shown()'s view of control characters.
std::string escaped(std::string_view text);

struct PlotSeries {
  std::string label;
  std::size_t colour = 0;
  std::vector<double> x;
  std::vector<std::optional<double>> y;  // as many as x
  bool limit = false;                    // a tolerance: thin and dashed
};

struct PlotMark {
  double x = 0, y = 0;
  std::size_t colour = 0;
  std::string title;
};

struct Plot {
  std::string x_label, y_label;
  bool log_y = false;
  std::vector<PlotSeries> series;
  std::vector<std::pair<double, double>> shaded;        // ranges of x
  std::vector<PlotMark> rings;                          // circles around points of a series
  std::vector<std::pair<double, std::string>> x_ticks;  // instead of round numbers
};

// "" when no series has a finite value.
std::string line_plot(const Plot& plot, int width, int height);

struct PlotPoint {
  std::string label;
  double x = 0, y = 0;
  std::size_t colour = 0;
};

// Numbered points; the numbers are explained by a list that the caller makes, beginning with 1.
std::string scatter_plot(const std::vector<PlotPoint>& points, const std::string& x_label,
                         const std::string& y_label, int width, int height);

}  // namespace tetrad::parity
