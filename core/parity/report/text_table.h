// A table of text that fits a width: columns that do not fit beside each other go into a further block, which
// begins with the first column again. Cells must be shown() text.
#pragma once

#include "parity/report/width.h"

#include <string>
#include <vector>

namespace tetrad::parity {

struct TableColumn {
  std::string title;
  Align align = Align::right;
  std::vector<std::string> cells;
};

struct RowStyle {
  std::string before, after;  // around a row's line, for colour; no columns of their own
};

// All columns have as many cells. The first column is repeated and may be cut to a third of the width.
std::string text_table(const std::vector<TableColumn>& columns, int width,
                       const std::vector<RowStyle>& styles = {});

}  // namespace tetrad::parity
