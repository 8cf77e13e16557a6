// The style of the HTML report: light and dark by the reader's preference, tables that scroll inside
// themselves and plots drawn for the width at hand, so that a phone shows all of it.
#pragma once

namespace tetrad::parity {

extern const char* const html_style;

}  // namespace tetrad::parity
