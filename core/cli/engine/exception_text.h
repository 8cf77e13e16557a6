// What was thrown, as the exit code and the line that a person is shown.
#pragma once

#include <string>
#include <utility>

namespace tetrad::cli {

// Of the exception that is being handled; only inside a catch block.
std::pair<int, std::string> describe_exception();

}  // namespace tetrad::cli
