// The columns of a report: which figures an arm has, under which key, and how they are shown. One table for
// the terminal, the page and the regression check.
#pragma once

#include "parity/report/words.h"

#include <nlohmann/json_fwd.hpp>

#include <optional>
#include <string>
#include <vector>

namespace tetrad::parity {

struct Column {
  const char* key;  // of its word; "about." + key explains it
  std::string (*show)(const nlohmann::json& arm, Language language);
  bool left = false;  // text, not a number
};

// Those that at least one arm of the report has something for.
std::vector<Column> agreement_columns(const nlohmann::json& report);
std::vector<Column> speed_columns(const nlohmann::json& report);
std::vector<Column> training_columns(const nlohmann::json& report);

// The label of the reference arm, fit to be shown.
std::string reference_label(const nlohmann::json& report);

std::string verdict_text(const nlohmann::json& arm, Language language);

// "turn 1, position 23: \" a\" #1 -> \" b\" #2"; "" where there is none.
std::string divergence_text(const nlohmann::json& arm, Language language);
// "layer 7's down_proj"
std::string layer_text(const nlohmann::json& arm, Language language);

// Last of training.losses.
std::optional<double> last_loss(const nlohmann::json& arm);

}  // namespace tetrad::parity
