// What a guard sensor must keep to beside opening (suite.h): it says what it observes and what it does not; a
// reading is no lie that can be seen from here (unknown is absent, never 0; nothing of another process, of
// the future or of a process whose number was reused); what it says of memory that the case itself takes is
// true; and it answers in time and burdens nobody. A machine on which it observes nothing skips the rest.
#pragma once

#include "check/case.h"
#include "check/target.h"

#include <vector>

namespace tetrad::check {

std::vector<Case> guard_cases(const Target& target);

}  // namespace tetrad::check
