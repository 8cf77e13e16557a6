#include "parity/report/text_table.h"

#include <algorithm>

namespace tetrad::parity {

namespace {

constexpr int gap = 2;

int width_of(const TableColumn& column) {
  int most = columns_of(column.title);
  for (const std::string& cell : column.cells) most = std::max(most, columns_of(cell));
  return most;
}

void trim(std::string& line) {
  while (line.ends_with(' ')) line.pop_back();
}

}  // namespace

std::string text_table(const std::vector<TableColumn>& columns, int width,
                       const std::vector<RowStyle>& styles) {
  if (columns.empty()) return {};
  const int first = std::min(width_of(columns[0]), std::max(8, columns.size() > 1 ? width / 3 : width));
  std::string out;
  std::size_t next = 1;
  do {
    // As many columns as fit; at least one.
    std::vector<std::size_t> block;
    std::vector<int> widths;
    int used = first;
    while (next < columns.size()) {
      const int own = std::min(width_of(columns[next]), std::max(1, width - first - gap));
      if (!block.empty() && used + gap + own > width) break;
      used += gap + own;
      block.push_back(next++);
      widths.push_back(own);
    }
    if (!out.empty()) out += "\n";
    const auto line = [&](const auto& text_of) {
      std::string text = padded(cut(text_of(columns[0]), first), first, Align::left);
      for (std::size_t i = 0; i < block.size(); ++i) {
        text += std::string(gap, ' ') +
                padded(cut(text_of(columns[block[i]]), widths[i]), widths[i], columns[block[i]].align);
      }
      trim(text);
      return text;
    };
    out += line([](const TableColumn& c) { return c.title; }) + "\n";
    for (std::size_t row = 0; row < columns[0].cells.size(); ++row) {
      const RowStyle style = row < styles.size() ? styles[row] : RowStyle{};
      out += style.before + line([row](const TableColumn& c) { return c.cells[row]; }) + style.after + "\n";
    }
  } while (next < columns.size());
  return out;
}

}  // namespace tetrad::parity
