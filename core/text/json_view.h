// A JSON value together with where it stands, so that every error about a model's JSON file names the file
// and the field ("models/x/tokenizer.json: pre_tokenizer.pretokenizers[1].type ..."). Reading is strict: a
// wrong type, a missing field or an unknown key is an Error, never a default that was not asked for. The view
// refers to the value; the document must outlive it.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>

namespace tetrad::text {

// Reads and parses a JSON file; Error when it is missing, larger than max_bytes, not JSON, or nested over 200
// deep. `raw`, when given, receives the file's bytes.
nlohmann::json read_json_file(const std::filesystem::path& file, std::size_t max_bytes,
                              std::string* raw = nullptr);
// The same for text already in memory; `name` stands in for the file in errors.
nlohmann::json parse_json(std::string_view text, const std::string& name);
// The bytes of a file; Error when it cannot be read or is larger than max_bytes.
std::string read_text_file(const std::filesystem::path& file, std::size_t max_bytes);

class JsonView {
 public:
  JsonView(const nlohmann::json& value, std::string file) : value_(&value), file_(std::move(file)) {}

  const nlohmann::json& value() const noexcept { return *value_; }
  const std::string& path() const noexcept { return path_; }
  bool is_null() const noexcept { return value_->is_null(); }
  bool has(const char* key) const { return value_->is_object() && value_->contains(key); }

  // Member and element access; absent is an error for at(), a null view for get().
  JsonView at(const char* key) const;
  JsonView get(const char* key) const;
  JsonView at(std::size_t index) const;
  std::size_t array_size() const;  // error unless an array

  std::string string() const;
  bool boolean() const;
  std::int64_t integer(std::int64_t low, std::int64_t high) const;
  bool boolean_or(const char* key, bool fallback) const;  // absent or null gives the fallback

  void expect_object() const;
  // Every key must be one of these; an unknown one could change the result, so it is refused by name.
  void expect_keys(std::initializer_list<std::string_view> known) const;

  // Throws "[text] file: path <message>".
  [[noreturn]] void fail(const std::string& message) const;

 private:
  JsonView child(const nlohmann::json& value, std::string path) const;

  const nlohmann::json* value_;
  std::string file_;
  std::string path_;
};

}  // namespace tetrad::text
