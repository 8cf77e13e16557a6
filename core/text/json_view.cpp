#include "text/json_view.h"

#include "sdk/base/printable.h"

#include <tetrad/base/error.h>

#include <algorithm>
#include <fstream>

namespace tetrad::text {
namespace {

constexpr int kMaxDepth = 200;

const nlohmann::json& null_value() {
  static const nlohmann::json value;
  return value;
}

std::string joined(std::initializer_list<std::string_view> names) {
  std::string out;
  for (const auto name : names) {
    if (!out.empty()) out += ", ";
    out += name;
  }
  return out;
}

}  // namespace

std::string read_text_file(const std::filesystem::path& file, std::size_t max_bytes) {
  std::error_code ec;
  const auto size = std::filesystem::file_size(file, ec);
  if (ec) throw Error("[text] " + file.string() + ": cannot be read: " + ec.message());
  if (size > max_bytes) {
    throw Error("[text] " + file.string() + ": has " + std::to_string(size) + " bytes; at most " +
                std::to_string(max_bytes) + " are accepted");
  }
  std::ifstream in(file, std::ios::binary);
  std::string bytes(static_cast<std::size_t>(size), '\0');
  if (!in || !in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    throw Error("[text] " + file.string() + ": cannot be read");
  }
  return bytes;
}

nlohmann::json parse_json(std::string_view text, const std::string& name) {
  // Later code recurses into the document, so the depth is bounded where it enters.
  const auto guard = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxDepth) throw Error("[text] " + name + ": JSON is nested more than 200 deep");
    return true;
  };
  try {
    return nlohmann::json::parse(text, guard);
  } catch (const nlohmann::json::exception& e) {
    throw Error("[text] " + name + ": is not valid JSON: " + json_problem(e.what()));
  }
}

nlohmann::json read_json_file(const std::filesystem::path& file, std::size_t max_bytes, std::string* raw) {
  std::string bytes = read_text_file(file, max_bytes);
  nlohmann::json document = parse_json(bytes, file.string());
  if (raw != nullptr) *raw = std::move(bytes);
  return document;
}

void JsonView::fail(const std::string& message) const {
  throw Error("[text] " + file_ + ": " +
              printable((path_.empty() ? std::string("the document") : path_) + " " + message, 1000));
}

JsonView JsonView::child(const nlohmann::json& value, std::string path) const {
  JsonView out(value, file_);
  out.path_ = std::move(path);
  return out;
}

JsonView JsonView::get(const char* key) const {
  expect_object();
  const auto found = value_->find(key);
  return child(found == value_->end() ? null_value() : *found, path_.empty() ? key : path_ + "." + key);
}

JsonView JsonView::at(const char* key) const {
  if (!has(key)) fail("has no '" + std::string(key) + "'");
  return get(key);
}

JsonView JsonView::at(std::size_t index) const {
  return child(value_->at(index), path_ + "[" + std::to_string(index) + "]");
}

std::size_t JsonView::array_size() const {
  if (!value_->is_array()) fail("must be an array, not " + std::string(value_->type_name()));
  return value_->size();
}

std::string JsonView::string() const {
  if (!value_->is_string()) fail("must be a string, not " + std::string(value_->type_name()));
  return value_->get<std::string>();
}

bool JsonView::boolean() const {
  if (!value_->is_boolean()) fail("must be true or false, not " + std::string(value_->type_name()));
  return value_->get<bool>();
}

std::int64_t JsonView::integer(std::int64_t low, std::int64_t high) const {
  if (!value_->is_number_integer()) fail("must be an integer, not " + std::string(value_->type_name()));
  const bool too_large =
      value_->is_number_unsigned() && value_->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  const auto number = value_->get<std::int64_t>();
  if (too_large || number < low || number > high) {
    fail("is " + value_->dump() + ", outside " + std::to_string(low) + ".." + std::to_string(high));
  }
  return number;
}

bool JsonView::boolean_or(const char* key, bool fallback) const {
  const JsonView field = get(key);
  return field.is_null() ? fallback : field.boolean();
}

void JsonView::expect_object() const {
  if (!value_->is_object()) fail("must be an object, not " + std::string(value_->type_name()));
}

void JsonView::expect_keys(std::initializer_list<std::string_view> known) const {
  expect_object();
  for (const auto& item : value_->items()) {
    if (std::find(known.begin(), known.end(), item.key()) == known.end()) {
      fail("has the unknown key '" + item.key() + "' (known: " + joined(known) + ")");
    }
  }
}

}  // namespace tetrad::text
