// Tokens and numbers as a report shows them, the same in every form and language.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace tetrad::parity {

// A token {"id", "piece"}: "\" Paris\" #7042"; the bytes of a part of a character "<e4 bd> #123"; "#123"
// where no file says what it is; "-" for null (an answer that had ended).
std::string token_text(const nlohmann::json& token);

// A piece alone: its text, or its bytes as "<e4 bd>"; "" for null.
std::string piece_text(const nlohmann::json& piece);

// 0, 3.1e-07, 0.0235, 12.5, 1234: three digits that count. "-" for nothing and "inf"-like values.
std::string short_number(std::optional<double> value);
std::string percent(std::optional<double> share);  // "98.1 %", "100 %" only when it is all
std::string gib(std::optional<double> bytes);      // "2.71 GiB", small ones in MiB
std::string seconds(std::optional<double> value);  // "12.3 ms", "4.56 s"

}  // namespace tetrad::parity
