// The bytes of a data file as lines of UTF-8. Byte order mark and carriage returns at line ends are accepted
// and taken away, so they never become tokens; a file in another encoding is refused with the command that
// converts it, because training on garbled text fails silently.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace tetrad::train {

// All bytes of a regular file. Throws Error(usage) "[data] FILE: ...".
std::string read_data_file(const std::filesystem::path& file);

// `bytes` without a UTF-8 byte order mark. Throws Error(usage) when the file as a whole is UTF-16, UTF-32,
// Big5 or GB18030; single bad sequences are left for the lines' own check. `name` stands for the file.
std::string_view check_encoding(std::string_view bytes, std::string_view name);

// Lines of a text, ended by LF or CR LF; the last one may have no end.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : rest_(text) {}

  // The next line without its end; false after the last.
  bool next(std::string_view& line);
  // Number of that line, from 1.
  std::int64_t number() const noexcept { return number_; }

 private:
  std::string_view rest_;
  std::int64_t number_ = 0;
};

// Why a line cannot be text for training: bytes that are no UTF-8 (with their place), NUL or another control
// character apart from tab, or a length over 16 MiB. Empty when it can.
std::string line_problem(std::string_view line);

// "\r\n" -> "\n".
std::string without_carriage_returns(std::string_view text);

}  // namespace tetrad::train
