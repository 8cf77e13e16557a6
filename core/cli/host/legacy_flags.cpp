#include "cli/host/legacy_flags.h"

#include "config/environment.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <string_view>

namespace tetrad::cli {

namespace {

namespace fs = std::filesystem;

constexpr const char* default_prompt = "Write one short sentence about UFO and you.";
constexpr const char* fp2_config = "fp2-model.yaml";
constexpr const char* bridge_config = "bridge.yaml";

[[noreturn]] void refuse(std::string_view flag, const std::string& why) {
  throw Error(ExitCode::usage, fmt::format("[cli] {}: {}", flag, why));
}

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

bool truth(std::string_view flag, const std::string& value) {
  const std::string word = lower(value);
  if (word == "true" || word == "1" || word == "yes") return true;
  if (word == "false" || word == "0" || word == "no") return false;
  refuse(flag, fmt::format("'{}' is neither true nor false", value));
}

std::string whole(std::string_view flag, const std::string& value) {
  std::int64_t number = 0;
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc{} || stop != end) refuse(flag, fmt::format("'{}' is not a whole number", value));
  return std::to_string(number);
}

double real_value(std::string_view flag, const std::string& value) {
  double number = 0;
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc{} || stop != end || !std::isfinite(number))
    refuse(flag, fmt::format("'{}' is not a number", value));
  return number;
}

std::string real(std::string_view flag, const std::string& value) {
  return nlohmann::json(real_value(flag, value)).dump();
}

// A text as --set takes it for exactly this text, whatever is in it.
std::string text(const std::string& value) {
  return config::escape_references(nlohmann::json(value).dump());
}

// The flags of one command line, the last of several winning.
class Translation {
 public:
  explicit Translation(const LegacySituation& situation) : situation_(situation) {}

  void take(const std::string& name, const std::string& value) { values_[name] = value; }
  void take_script(const std::string& script) { script_ = script; }

  void translate(LegacyFlags& result) {
    result_ = &result;
    result.any = !values_.empty() || script_.has_value();
    if (!result.any) return;
    choose_path();
    model();
    sampling();
    script();
    guard();
  }

 private:
  // The first of these names that was given, as {name, value}.
  std::optional<std::pair<std::string, std::string>> given(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      if (const auto at = values_.find(name); at != values_.end()) return *at;
    }
    return std::nullopt;
  }

  void set(const std::string& key, const std::string& value) { result_->sets.push_back(key + "=" + value); }

  void choose_path() {
    const auto backend = given({"--kvc-backend"});
    std::string wanted, reason;
    if (backend) {
      wanted = lower(backend->second);
      reason = "--kvc-backend " + wanted;
      if (wanted != "fp2-model" && wanted != "bridge")
        refuse("--kvc-backend", fmt::format("'{}' is neither fp2-model nor bridge", backend->second));
    }
    if (script_) {
      const std::string name = fs::path(*script_).filename().string();
      const std::string of_script = name.find("fp2") != std::string::npos ? "fp2-model" : "bridge";
      if (!backend) {
        wanted = of_script;
        reason = "script " + name;
      } else if (of_script == "fp2-model" && wanted == "bridge") {
        refuse("--kvc-backend",
               name + " is training-path only; use --kvc-backend fp2-model, or leave the script out");
      }
    }
    if (situation_.has_config) {
      if (!wanted.empty()) set("path", wanted == "bridge" ? "bridge" : "training");
      return;
    }
    if (wanted.empty()) {
      wanted = "fp2-model";
      reason = "no --config; the predecessor's default, --kvc-backend fp2-model";
    }
    result_->config = wanted == "bridge" ? bridge_config : fp2_config;
    result_->config_reason = reason;
  }

  void model() {
    const auto folder = given({"--model-dir"});
    if (folder) set("model.path", text(folder->second));
    if (const auto weight = given({"--weight"})) set("model.weights", text(weight_file(weight->second)));
    if (const auto type = given({"--dtype"})) {
      const std::string word = lower(type->second);
      set("model.dtype", text(word == "half" ? "float16" : word));
    }
    if (const auto device = given({"--device"})) set("model.device", text(lower(device->second)));
    if (const auto quant = given({"--quant"})) {
      const std::string word = lower(quant->second);
      if (word == "fp4" || word == "nvfp4") {
        set("linear.plugin", "backend-nvfp4");
      } else if (word == "none" || word == "bf16" || word == "fp16") {
        set("linear.plugin", "backend-bf16");
      } else {
        refuse(
            "--quant",
            fmt::format("'{}': there is no such linear backend; fp4 takes backend-nvfp4, none backend-bf16 "
                        "(another one: --set linear.plugin=ID)",
                        quant->second));
      }
    }
    if (const auto cache = given({"--use-kvc", "--KVCacheOut", "--kvcacheout", "--kv-cache-out"}))
      set("kv_cache.plugin", truth(cache->first, cache->second) ? "kvc-persistent" : "kvc-none");
    if (const auto mode = given({"--no-kvc-mode"}); mode && lower(mode->second) != "full-replay")
      refuse("--no-kvc-mode", fmt::format("'{}': without a KV cache every token replays the whole context "
                                          "(full-replay); there is no other way here",
                                          mode->second));
    const auto input =
        given({"--kvc-input-mode", "--TokenByTokenOrPromptByPrompt", "--tokenbytokenorpromptbyprompt"});
    if (input) {
      const std::string word = lower(input->second);
      if (word == "tbt") {
        set("model.prefill_chunk", "1");
      } else if (word != "pbp") {
        refuse(input->first,
               fmt::format("'{}' is neither pbp (prompt by prompt) nor tbt (token by token)", input->second));
      }
    }
  }

  // The predecessor looked for a bare name in the model's folder.
  std::string weight_file(const std::string& value) const {
    const fs::path file(value);
    std::error_code failed;
    const auto folder = given({"--model-dir"});
    if (folder && !file.is_absolute() && !fs::exists(file, failed)) {
      const fs::path inside = fs::path(folder->second) / file;
      if (fs::exists(inside, failed)) return inside.string();
    }
    return value;
  }

  void sampling() {
    if (const auto v = given({"--max-tokens"})) set("chat.max_tokens", whole(v->first, v->second));
    if (const auto v = given({"--temp"})) set("chat.temperature", real(v->first, v->second));
    if (const auto v = given({"--top-p", "--topp"})) set("chat.top_p", real(v->first, v->second));
    if (const auto v = given({"--seed"})) set("chat.seed", whole(v->first, v->second));
    if (const auto v = given({"--ignore-eos"})) set("chat.ignore_eos", boolean(*v));
    if (const auto v = given({"--check-logits"})) set("chat.probe_logits", boolean(*v));
    if (const auto v = given({"--timing"})) set("chat.timing", boolean(*v));
    if (const auto v = given({"--timeout-ms"}))
      set("chat.timeout_secs", nlohmann::json(real_value(v->first, v->second) / 1000).dump());
    if (const auto v = given({"--tee-object-chat-session"})) set("chat.tee_text", text(v->second));
    if (const auto v = given({"--tee-object-chat-session-json"})) set("chat.tee_jsonl", text(v->second));
  }

  static std::string boolean(const std::pair<std::string, std::string>& flag) {
    return truth(flag.first, flag.second) ? "true" : "false";
  }

  void script() {
    if (situation_.command == "generate") return;
    if (const auto v = given({"--prompt"})) {
      set("chat.prompt", text(v->second));
    } else if (!situation_.has_config) {
      set("chat.prompt", text(default_prompt));  // the predecessor's own
    } else {
      for (const char* name : {"--turns", "--followup-prompt"}) {
        if (given({name})) result_->script_flags.emplace_back(name);
      }
    }
    if (const auto v = given({"--turns"})) set("chat.turns", whole(v->first, v->second));
    if (const auto v = given({"--followup-prompt"})) set("chat.followup_prompt", text(v->second));

    const auto interactive = given({"--ifInteractive"}), stop = given({"--stop-here"});
    const bool go_on = interactive && truth(interactive->first, interactive->second);
    const bool end = stop && truth(stop->first, stop->second);
    if (go_on && end)
      refuse("--stop-here",
             "--ifInteractive=true goes on after the script and --stop-here=true ends there; "
             "give one of them");
    if (interactive || stop) {
      // --stop-here=false by itself goes on where somebody can type, as the predecessor did.
      const bool on = interactive ? go_on : !end && situation_.terminal;
      set("chat.after_script", on ? "interactive" : "end");
    }
  }

  void guard() {
    if (const auto v = given({"--gpu-limit-gb"})) {
      const double limit = real_value(v->first, v->second);
      const double machine = static_cast<double>(situation_.memory_bytes.value_or(0)) / (1 << 30);
      if (machine > 0 && limit >= machine) {
        // Written for a larger machine (108 of 128 GiB): a limit that could never act is no protection.
        set("guard.limit_gb", "auto");
        result_->notes.push_back(
            fmt::format("[host] --gpu-limit-gb {}: this machine has {:.1f} GiB; guard.limit_gb is auto",
                        v->second, machine));
      } else {
        set("guard.limit_gb", nlohmann::json(limit).dump());
      }
    }
    if (const auto v = given({"--gpu-over-secs"})) set("guard.over_secs", real(v->first, v->second));
    if (const auto v = given({"--gpu-poll-secs"})) set("guard.poll_secs", real(v->first, v->second));
  }

  const LegacySituation& situation_;
  LegacyFlags* result_ = nullptr;
  std::map<std::string, std::string> values_;
  std::optional<std::string> script_;
};

enum class Where { anywhere, chat };  // chat: not for one answer to one prompt

struct Flag {
  const char* name;
  Where where;
  bool is_switch;  // "true" when no value follows
};

constexpr std::array flags = {
    Flag{"--kvc-backend", Where::anywhere, false},
    Flag{"--use-kvc", Where::anywhere, true},
    Flag{"--KVCacheOut", Where::anywhere, true},
    Flag{"--kvcacheout", Where::anywhere, true},
    Flag{"--kv-cache-out", Where::anywhere, true},
    Flag{"--kvc-input-mode", Where::anywhere, false},
    Flag{"--TokenByTokenOrPromptByPrompt", Where::anywhere, false},
    Flag{"--tokenbytokenorpromptbyprompt", Where::anywhere, false},
    Flag{"--no-kvc-mode", Where::anywhere, false},
    Flag{"--model-dir", Where::anywhere, false},
    Flag{"--weight", Where::anywhere, false},
    Flag{"--quant", Where::anywhere, false},
    Flag{"--dtype", Where::anywhere, false},
    Flag{"--device", Where::anywhere, false},
    Flag{"--max-tokens", Where::anywhere, false},
    Flag{"--temp", Where::anywhere, false},
    Flag{"--top-p", Where::anywhere, false},
    Flag{"--topp", Where::anywhere, false},
    Flag{"--seed", Where::anywhere, false},
    Flag{"--ignore-eos", Where::anywhere, true},
    Flag{"--check-logits", Where::anywhere, true},
    Flag{"--timing", Where::anywhere, true},
    Flag{"--timeout-ms", Where::anywhere, false},
    Flag{"--gpu-limit-gb", Where::anywhere, false},
    Flag{"--gpu-over-secs", Where::anywhere, false},
    Flag{"--gpu-poll-secs", Where::anywhere, false},
    Flag{"--prompt", Where::chat, false},
    Flag{"--followup-prompt", Where::chat, false},
    Flag{"--turns", Where::chat, false},
    Flag{"--ifInteractive", Where::chat, true},
    Flag{"--stop-here", Where::chat, true},
    Flag{"--tee-object-chat-session", Where::chat, false},
    Flag{"--tee-object-chat-session-json", Where::chat, false},
};

const Flag* find_flag(std::string_view word) {
  const std::string_view name = word.substr(0, word.find('='));
  const auto at = std::find_if(flags.begin(), flags.end(), [&](const Flag& f) { return f.name == name; });
  return at == flags.end() ? nullptr : &*at;
}

bool is_script(std::string_view word) {
  return word.ends_with(".fsx");
}

}  // namespace

std::vector<std::string> legacy_flag_names(const std::string& command) {
  std::vector<std::string> names;
  for (const Flag& flag : flags) {
    if (flag.where == Where::anywhere || command != "generate") names.emplace_back(flag.name);
  }
  return names;
}

bool is_legacy_flag(const std::string& word) {
  return find_flag(word) != nullptr;
}

LegacyFlags take_legacy_flags(std::span<const std::string> words, const LegacySituation& situation) {
  LegacyFlags result;
  Translation translation(situation);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    const bool more = i + 1 < words.size();
    if (word == "script" && more && is_script(words[i + 1])) {
      translation.take_script(words[++i]);
      continue;
    }
    const Flag* flag = find_flag(word);
    if (flag == nullptr || (flag->where == Where::chat && situation.command == "generate")) {
      result.rest.push_back(word);
      continue;
    }
    const std::size_t equals = word.find('=');
    std::string value;
    if (equals != std::string::npos) {
      value = word.substr(equals + 1);
      if (value.empty() && flag->is_switch) value = "true";
    } else if (more && !words[i + 1].starts_with("--")) {
      value = words[++i];
    } else if (flag->is_switch) {
      value = "true";
    } else {
      refuse(flag->name,
             fmt::format("it needs a value; one that begins with '--' is written {}=VALUE", flag->name));
    }
    translation.take(flag->name, value);
  }
  translation.translate(result);
  return result;
}

}  // namespace tetrad::cli
