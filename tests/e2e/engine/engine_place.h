// A folder with the tiny model and a config for the real engine, and what every refusal has in common.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

#include "launcher.h"
#include "support/temp_dir.h"
#include "support/tiny_model.h"
#include "text/utf8.h"

namespace tetrad::e2e {

class EnginePlace {
 public:
  explicit EnginePlace(const nlohmann::json& model_config = test::tiny_config()) {
    test::write_tiny_model(model(), model_config);
    folder_.write("c.yaml", "task: generate\nmodel: {path: \"" + model().string() +
                                "\", dtype: float32, device: cpu}\nlinear: {plugin: backend-bf16}\n"
                                "kv_cache: {plugin: kvc-persistent}\nrun: {dir: null, threads: 1}\n"
                                "chat: {max_tokens: 4}\n"
                                "plugins: {path: [\"" TETRAD_ENGINE_FIXTURES "\"]}\n");
  }

  std::filesystem::path model() const { return folder_ / "model"; }
  std::filesystem::path model_file(const std::string& name = "model.safetensors") const {
    return model() / name;
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string config() const { return path("c.yaml"); }
  void write(const std::string& name, std::string_view text) const { folder_.write(name, text); }

  // `generate --prompt Hi --json`.
  Result generate(const std::vector<std::string>& more = {}, const std::string& prompt = "Hi") const {
    return run({"generate", "--config", config(), "--prompt", prompt, "--json"}, more);
  }
  static Result run(std::vector<std::string> arguments, const std::vector<std::string>& more = {},
                    const std::string& input = {}) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_host(arguments, input);
  }
  // A shell command; `host` stands for the program's path.
  static Result shell(const std::string& command) {
    return run_host({"guard", "--limit-gb", "none", "--", "sh", "-c",
                     "host() { '" + host_file() + "' \"$@\"; }; " + command});
  }

 private:
  test::TempDir folder_;
};

// Lines of stderr that report an error.
inline std::vector<std::string> error_lines(const Result& result) {
  std::vector<std::string> lines;
  std::size_t at = 0;
  while (at < result.err.size()) {
    const std::size_t end = std::min(result.err.find('\n', at), result.err.size());
    const std::string line = result.err.substr(at, end - at);
    if (line.starts_with("error:")) lines.push_back(line);
    at = end + 1;
  }
  return lines;
}

// The exit code, one error with these words in it, no result, and nothing that a person need not see.
inline void expect_refused(const Result& result, int code, const std::vector<std::string>& words) {
  EXPECT_EQ(result.exit_code, code) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(error_lines(result).size(), 1U) << result.err;
  for (const std::string& word : words) EXPECT_THAT(result.err, testing::HasSubstr(word));
  EXPECT_FALSE(text::validate_utf8(result.err)) << "not UTF-8";
  for (const char* inside : {"terminate called", "json.exception", "Exception raised from",
                             "C++ CapturedTraceback", "frame #", "\x1b", "[engine]"}) {
    EXPECT_THAT(result.err, testing::Not(testing::HasSubstr(inside)));
  }
}

// A refusal of the config, which names its place in the config instead, before anything is loaded.
inline void expect_config_error(const Result& result, int code, const std::vector<std::string>& words) {
  EXPECT_EQ(result.exit_code, code) << result.err;
  EXPECT_EQ(result.out, "");
  for (const std::string& word : words) EXPECT_THAT(result.err, testing::HasSubstr(word));
  for (const char* inside : {"[run]", "[engine]", "\\x0A"})
    EXPECT_THAT(result.err, testing::Not(testing::HasSubstr(inside)));
}

}  // namespace tetrad::e2e
