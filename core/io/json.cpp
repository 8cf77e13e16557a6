#include "io/json.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "sdk/base/printable.h"

namespace tetrad::io {
namespace {

using nlohmann::json;

// Builds the value as the library's own DOM handler would, but refuses what JsonLimits forbids. Returning
// false stops the parser; the reason is then in error().
class StrictBuilder {
 public:
  explicit StrictBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(json::number_integer_t value) { return add(value); }
  bool number_unsigned(json::number_unsigned_t value) { return add(value); }
  bool number_float(json::number_float_t value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(json::binary_t&) { return false; }
  bool start_object(std::size_t) { return open(json::object()); }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(json::array()); }
  bool end_array() { return close(); }

  bool key(std::string& name) {
    auto [slot, added] = open_.back()->get_ref<json::object_t&>().emplace(name, nullptr);
    if (!added) return fail(fmt::format("duplicate key '{}'", printable(name)));
    slot_ = &slot->second;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) {
    return fail(json_problem(e.what()));
  }

  const std::string& error() const { return error_; }
  json take() { return std::move(root_); }

 private:
  template <class T>
  bool add(T&& value) {
    return place(json(std::forward<T>(value))) != nullptr;
  }

  bool open(json container) {
    if (open_.size() >= limits_.max_depth)
      return fail(fmt::format("nested deeper than {} levels", limits_.max_depth));
    json* placed = place(std::move(container));
    if (placed == nullptr) return false;
    open_.push_back(placed);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  // Puts a value where the parser is. Pointers to open containers stay valid: an array's open element is its
  // last, and nothing is appended to the array before that element is closed.
  json* place(json value) {
    if (++values_ > limits_.max_values) {
      fail(fmt::format("more than {} values", limits_.max_values));
      return nullptr;
    }
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (open_.back()->is_array()) {
      auto& array = open_.back()->get_ref<json::array_t&>();
      array.push_back(std::move(value));
      return &array.back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool fail(std::string what) {
    error_ = std::move(what);
    return false;
  }

  const JsonLimits& limits_;
  json root_;
  std::vector<json*> open_;
  json* slot_ = nullptr;  // where the value of the key just read goes
  std::size_t values_ = 0;
  std::string error_;
};

}  // namespace

json parse_json(std::string_view text, std::string_view where, const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    throw Error(fmt::format("[json] {}: {} bytes of JSON, more than the {} allowed", where, text.size(),
                            limits.max_bytes));
  }
  // The library takes a NUL for the end of the text and would not look at what follows it.
  if (const std::size_t nul = text.find('\0'); nul != text.npos) {
    throw Error(fmt::format("[json] {}: a NUL byte at offset {}", where, nul));
  }
  StrictBuilder builder(limits);
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    throw Error(fmt::format("[json] {}: {}", where, builder.error()));
  }
  return builder.take();
}

json read_json(const std::filesystem::path& file, const JsonLimits& limits) {
  std::error_code failed;
  const auto status = std::filesystem::status(file, failed);
  if (!std::filesystem::exists(status)) throw Error(fmt::format("[json] {}: no such file", file.string()));
  if (!std::filesystem::is_regular_file(status))
    throw Error(fmt::format("[json] {}: not a regular file", file.string()));
  const auto size = std::filesystem::file_size(file, failed);
  if (failed) throw Error(fmt::format("[json] {}: {}", file.string(), failed.message()));
  if (size > limits.max_bytes) {
    throw Error(
        fmt::format("[json] {}: {} bytes, more than the {} allowed", file.string(), size, limits.max_bytes));
  }
  std::ifstream in(file, std::ios::binary);
  std::string text(size, '\0');
  if (!in || !in.read(text.data(), static_cast<std::streamsize>(size))) {
    throw Error(fmt::format("[json] {}: cannot be read", file.string()));
  }
  return parse_json(text, file.string(), limits);
}

}  // namespace tetrad::io
