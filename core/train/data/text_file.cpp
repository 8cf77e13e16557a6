#include "train/data/text_file.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "sdk/base/printable.h"
#include "text/utf8.h"

namespace tetrad::train {
namespace {

[[noreturn]] void wrong_encoding(std::string_view name, std::string_view what, std::string_view iconv_name) {
  const std::string file = printable(name);
  throw Error(
      ExitCode::usage,
      fmt::format("[data] {}: the file is {}, and training reads UTF-8 only; convert it with: iconv -f "
                  "{} -t UTF-8 '{}' > '{}.utf8'",
                  file, what, iconv_name, file, file));
}

// Text of one-byte characters in two-byte units has a zero in every other byte; Chinese text in UTF-16 still
// has such ASCII signs as line ends. Text that is UTF-8 has no zero at all.
void refuse_utf16_without_mark(std::string_view bytes, std::string_view name) {
  std::size_t zeros[2] = {0, 0};
  for (std::size_t i = 0; i < bytes.size(); ++i) zeros[i % 2] += bytes[i] == '\0' ? 1 : 0;
  const std::size_t pairs = bytes.size() / 2;
  if (bytes.size() % 2 != 0 || pairs == 0) return;
  for (const std::size_t low : {0U, 1U}) {
    // Little endian has its zeros in the odd bytes.
    if (zeros[1 - low] == 0 && zeros[low] * 32 >= pairs && zeros[low] > 0)
      wrong_encoding(name, low == 1 ? "UTF-16 (little endian)" : "UTF-16 (big endian)",
                     low == 1 ? "UTF-16LE" : "UTF-16BE");
  }
}

struct DoubleBytes {
  bool fits = true;       // the bytes can be read in this encoding, from the first to the last
  std::size_t pairs = 0;  // characters of two bytes
};

template <class Trail>
DoubleBytes read_as(std::string_view bytes, Trail&& is_trail) {
  DoubleBytes result;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto lead = static_cast<unsigned char>(bytes[i]);
    if (lead < 0x80) continue;
    const auto trail = i + 1 < bytes.size() ? static_cast<unsigned char>(bytes[i + 1]) : 0U;
    if (lead < 0x81 || lead > 0xFE || !is_trail(trail)) {
      result.fits = false;
      return result;
    }
    ++result.pairs;
    ++i;
  }
  return result;
}

// Chinese text in a two-byte encoding has few sequences that are UTF-8 as well, while UTF-8 text with a
// damaged place has many.
void refuse_double_byte_text(std::string_view bytes, std::string_view name) {
  std::size_t valid = 0, invalid = 0;
  for (std::size_t i = 0; i < bytes.size();) {
    const text::Utf8Char c = text::decode_utf8(bytes, i);
    if (c.status != text::Utf8Status::valid) ++invalid;
    if (c.status == text::Utf8Status::valid && c.length > 1) ++valid;
    i += c.length;
  }
  if (invalid < 4 || invalid <= 2 * valid) return;
  const auto big5 =
      read_as(bytes, [](unsigned b) { return (b >= 0x40 && b <= 0x7E) || (b >= 0xA1 && b <= 0xFE); });
  if (big5.fits && big5.pairs > 1) wrong_encoding(name, "not UTF-8 and looks like Big5", "BIG5");
  const auto gb = read_as(bytes, [](unsigned b) { return b >= 0x30 && b <= 0xFE && b != 0x7F; });
  if (gb.fits && gb.pairs > 1) wrong_encoding(name, "not UTF-8 and looks like GB18030", "GB18030");
}

}  // namespace

std::string read_data_file(const std::filesystem::path& file) {
  std::error_code failed;
  const auto status = std::filesystem::status(file, failed);
  const std::string name = printable(file.string());
  if (!std::filesystem::exists(status))
    throw Error(ExitCode::usage, fmt::format("[data] {}: there is no such file", name));
  if (!std::filesystem::is_regular_file(status))
    throw Error(ExitCode::usage, fmt::format("[data] {}: not a regular file", name));
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Error(ExitCode::usage, fmt::format("[data] {}: {}", name, std::strerror(errno)));
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  if (in.bad()) throw Error(fmt::format("[data] {}: reading failed", name));
  return bytes;
}

std::string_view check_encoding(std::string_view bytes, std::string_view name) {
  using namespace std::string_view_literals;
  if (bytes.starts_with("\xFF\xFE\0\0"sv) || bytes.starts_with("\0\0\xFE\xFF"sv))
    wrong_encoding(name, "UTF-32", "UTF-32");
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF"))
    wrong_encoding(name, "UTF-16", "UTF-16");
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  refuse_utf16_without_mark(bytes, name);
  if (text::validate_utf8(bytes)) refuse_double_byte_text(bytes, name);
  return bytes;
}

bool LineReader::next(std::string_view& line) {
  if (rest_.empty()) return false;
  const std::size_t end = rest_.find('\n');
  line = rest_.substr(0, end);
  rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  ++number_;
  return true;
}

std::string line_problem(std::string_view line) {
  constexpr std::size_t longest = std::size_t{16} << 20;
  if (line.size() > longest) return fmt::format("it is {} bytes long; the most is {}", line.size(), longest);
  if (const auto bad = text::validate_utf8(line))
    return fmt::format("byte {} (0x{:02X}) is not UTF-8", *bad + 1, static_cast<unsigned char>(line[*bad]));
  const auto control = std::find_if(line.begin(), line.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F;
  });
  if (control != line.end())
    return fmt::format("byte {} is a control character (0x{:02X})", control - line.begin() + 1,
                       static_cast<unsigned char>(*control));
  return {};
}

std::string without_carriage_returns(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n') result += text[i];
  return result;
}

}  // namespace tetrad::train
