// The parts of the HTML report, each a string of HTML, "" where the report has nothing for it.
#pragma once

#include "parity/report/words.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace tetrad::parity {

std::string html_section(std::string_view title, const std::string& body);

// Figures (html_tables.cpp).
std::string html_agreement(const nlohmann::json& report, Language language);
std::string html_speed(const nlohmann::json& report, Language language);
std::string html_training(const nlohmann::json& report, Language language);
std::string html_checks(const nlohmann::json& report, const nlohmann::json& arm, Language language);

// Plots (html_plots.cpp).
std::string html_kl_plot(const nlohmann::json& report, Language language);
std::string html_layer_plot(const nlohmann::json& report, Language language);
std::string html_speed_plot(const nlohmann::json& report, Language language);
std::string html_loss_plot(const nlohmann::json& report, Language language);

// What the models said (html_texts.cpp).
std::string html_first_tokens(const nlohmann::json& report, Language language);
std::string html_texts(const nlohmann::json& report, Language language);
std::string html_script(const nlohmann::json& report, const nlohmann::json& arm, Language language);

}  // namespace tetrad::parity
