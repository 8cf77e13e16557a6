#include "runs/store.h"

#include "config/suggest.h"
#include "io/json.h"
#include "runs/folder.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <string_view>

namespace tetrad::runs {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// "20261123T092801Z-name" and "-2" behind names that were taken: by time, then by number.
bool is_run_name(std::string_view name) {
  constexpr std::string_view pattern = "00000000T000000Z-";
  if (name.size() <= pattern.size()) return false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const bool digit = name[i] >= '0' && name[i] <= '9';
    if (pattern[i] == '0' ? !digit : name[i] != pattern[i]) return false;
  }
  return true;
}

constexpr std::size_t stamp_size = 16;

// Runs of one second are told apart by the time of the file that each begins with.
bool newer(const fs::path& parent, const std::string& a, const std::string& b) {
  const int order = a.compare(0, stamp_size, b, 0, stamp_size);
  if (order != 0) return order > 0;
  std::error_code failed;
  const auto written_a = fs::last_write_time(parent / a / "config.yaml", failed);
  const auto written_b = fs::last_write_time(parent / b / "config.yaml", failed);
  return written_a != written_b ? written_a > written_b : a > b;
}

std::vector<std::string> run_names(const fs::path& parent) {
  std::vector<std::string> names;
  std::error_code failed;
  for (fs::directory_iterator at(parent, failed), end; !failed && at != end; at.increment(failed)) {
    std::string name = at->path().filename().string();
    if (is_run_name(name)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end(),
            [&](const std::string& a, const std::string& b) { return newer(parent, a, b); });
  return names;
}

json read_or_null(const fs::path& file) {
  std::error_code failed;
  if (!fs::exists(file, failed)) return nullptr;
  try {
    json value = io::read_json(file);
    return value.is_object() ? value : json();
  } catch (const Error&) {
    return nullptr;
  }
}

json status_of(const fs::path& folder) {
  json status = read_or_null(folder / "status.json");
  if (status.is_object() && status.contains("state") && status["state"].is_string()) return status;
  return {{"state", is_running(folder) ? "running" : "lost"}};
}

std::string text_at(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::optional<double> number_at(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || !found->is_number()) return std::nullopt;
  return found->get<double>();
}

Entry read_entry(const fs::path& parent, const std::string& name) {
  Entry entry{name, parent / name, name.substr(0, stamp_size), name.substr(stamp_size + 1), {}, {}, {}, {}};
  const json description = read_or_null(entry.folder / "config.json");
  if (const std::string file = text_at(description, "config_file"); !file.empty()) entry.config = file;
  entry.task = text_at(description, "command");
  const json status = status_of(entry.folder);
  entry.state = text_at(status, "state");
  if (const auto code = number_at(status, "exit_code")) entry.exit_code = static_cast<int>(*code);
  entry.tok_s = number_at(status, "tok_s");
  return entry;
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ExitCode::usage, "[runs] " + what);
}

}  // namespace

Listing list_runs(const fs::path& parent, std::size_t most) {
  std::vector<std::string> names = run_names(parent);
  Listing listing;
  if (most != 0 && names.size() > most) {
    listing.older = names.size() - most;
    names.resize(most);
  }
  for (const std::string& name : names) listing.runs.push_back(read_entry(parent, name));
  return listing;
}

fs::path find_run(const fs::path& parent, const std::string& name) {
  std::error_code failed;
  if (name.find('/') != std::string::npos) {
    const fs::path folder = fs::path(name).lexically_normal();
    const fs::path bare = folder.has_filename() ? folder : folder.parent_path();
    if (fs::exists(bare / "config.json", failed)) return bare;
    refuse(fmt::format("'{}' is not the folder of a run: it has no config.json", name));
  }
  const std::vector<std::string> names = run_names(parent);
  if (names.empty()) {
    refuse(fmt::format("there are no runs in '{}'; --dir names another folder", parent.string()));
  }
  if (name == "latest") return parent / names.front();
  if (std::find(names.begin(), names.end(), name) != names.end()) return parent / name;
  std::vector<std::string> fitting;
  std::copy_if(names.begin(), names.end(), std::back_inserter(fitting),
               [&](const std::string& full) { return !name.empty() && full.starts_with(name); });
  if (fitting.size() == 1) return parent / fitting.front();
  if (fitting.size() > 1) {
    refuse(fmt::format("'{}' is the beginning of {} runs in '{}', from {} to {}", name, fitting.size(),
                       parent.string(), fitting.back(), fitting.front()));
  }
  const std::string near = config::did_you_mean(name, names);
  refuse(fmt::format("there is no run '{}' in '{}'{}", name, parent.string(),
                     near.empty() ? "; 'host runs list' shows them" : near));
}

json read_run(const fs::path& folder) {
  const fs::path whole = fs::absolute(folder).lexically_normal();
  return {{"name", whole.filename().string()},
          {"folder", whole.string()},
          {"description", read_or_null(whole / "config.json")},
          {"record", read_or_null(whole / "record.json")},
          {"status", status_of(whole)}};
}

json tokens_per_second(const json& run) {
  const json& record = run.at("record");
  if (!record.is_object()) return nullptr;
  double tokens = 0;
  double seconds = 0;
  const auto turns = record.find("turns");
  if (turns != record.end() && turns->is_array()) {
    for (const json& turn : *turns) {
      const auto decoded = number_at(turn, "decoded_tokens");
      const auto decode_s = number_at(turn, "decode_s");
      if (!decoded || !decode_s) continue;
      tokens += *decoded;
      seconds += *decode_s;
    }
  }
  if (const auto result = record.find("result"); tokens == 0 && result != record.end()) {
    if (const auto rate = number_at(*result, "tok_s")) return *rate;
  }
  if (tokens <= 0 || seconds <= 0) return nullptr;
  return tokens / seconds;
}

}  // namespace tetrad::runs
