// Text from a hostile file made fit for a message: a terminal must not obey it, JSON must be able to hold it.
// Bytes that are no UTF-8 and control characters become \xNN, very long texts are cut. Every message that
// quotes a file, a socket or another library's view of one passes through here.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tetrad {

enum class Newlines : bool { escape, keep };

std::string printable(std::string_view text, std::size_t longest = 200, Newlines newlines = Newlines::escape);

// What nlohmann's exceptions say, without their own "[json.exception.parse_error.101]", and printable: they
// quote the text at hand, cut anywhere.
std::string json_problem(std::string_view what);

}  // namespace tetrad
