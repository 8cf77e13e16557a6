// A parity report for people: a table for a terminal, CSV for a spreadsheet, one HTML page that needs nothing
// else. Pure functions of the report that compare.h makes or seal.h reads. Every text that a model, a file or
// a config put there is escaped.
#pragma once

#include "parity/report/words.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace tetrad::parity {

// Lines of at most `columns` (at least 40 are used), ending with a line break. `colour`: ANSI colours.
std::string terminal_report(const nlohmann::json& report, Language language, int columns, bool colour);

// RFC 4180: a header line, one row for each arm, CRLF, full precision; empty where there is no figure.
std::string csv_report(const nlohmann::json& report);

// One page: inline style and SVG, no script, nothing fetched; light and dark by the reader's preference.
std::string html_report(const nlohmann::json& report, Language language);

// What got worse between two reports of the same comparison, beyond noise:
// {"regressions": [{"arm", "figure", "old", "new", "allowed"}], "improvements": [...], "notes": [{"code",
// ...}],
//  "exit_code": 0 | 1}. Arms are matched by label.
nlohmann::json compare_reports(const nlohmann::json& old_report, const nlohmann::json& new_report);
std::string terminal_regression(const nlohmann::json& comparison, Language language, int columns,
                                bool colour);

}  // namespace tetrad::parity
