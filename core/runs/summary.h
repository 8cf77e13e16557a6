// A run on one page of Markdown, ready to be pasted into a log: command, how it ended, path, plugins, weights
// and their hash, memory, timing, the turns with their lengths, and the text.
#pragma once

#include "runs/words.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace tetrad::runs {

// `run` as read_run() gives it; what is missing there is left out or said to be unknown. Text of the model is
// shown as it is but for control characters, which are made visible: a log is read on terminals.
std::string summary(const nlohmann::json& run, Language language);

// A command line as one would type it: words with special characters in single quotes.
std::string shell_words(const nlohmann::json& command_line);

}  // namespace tetrad::runs
