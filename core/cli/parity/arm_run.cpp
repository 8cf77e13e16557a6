#include "cli/parity/arm_run.h"

#include "cli/launch/engine_path.h"
#include "cli/launch/guarded.h"
#include "cli/parity/logits_arm.h"
#include "cli/parity/planner.h"
#include "cli/parity/result_folder.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "parity/files.h"
#include "parity/plan/settings.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace tetrad::cli {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// What the engine gets instead of our standard streams: nothing to read, and a log to write to.
class Streams {
 public:
  explicit Streams(const fs::path& log) {
    null_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    log_ = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (null_ < 0 || log_ < 0)
      throw Error(fmt::format("[parity] '{}' cannot be written: {}", log.string(), std::strerror(errno)));
  }
  ~Streams() {
    ::close(null_);
    ::close(log_);
  }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  std::array<int, 3> fds() const noexcept { return {null_, log_, log_}; }

 private:
  int null_ = -1;
  int log_ = -1;
};

// The last "error: ..." line of an engine's log.
std::string error_in(const fs::path& log) {
  std::ifstream in(log);
  std::string found;
  constexpr std::string_view mark = "error: ";
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(mark)) found = line.substr(mark.size());
  }
  return found;
}

void write_failure(const fs::path& folder, const ArmEnd& end) {
  const json record = {{"format", parity::arm_format},
                       {"version", parity::format_version},
                       {"status", "failed"},
                       {"error", end.error},
                       {"exit_code", end.exit_code}};
  write_json_file(folder / parity::arm_file, record);
}

// The record of an arm; null when there is none that can be read.
json read_record(const fs::path& folder) {
  try {
    constexpr std::size_t most_bytes = std::size_t{256} << 20;
    const json record = io::read_json(folder / parity::arm_file, {most_bytes, 64, std::size_t{16} << 20});
    const bool ours = record.is_object() && record.value("format", "") == parity::arm_format &&
                      record.value("version", 0) == parity::format_version;
    return ours ? record : json();
  } catch (const std::exception&) {
    return nullptr;
  }
}

RunMessage message_for(const parity::Plan& plan, const parity::Arm& arm, const Prepared& prepared,
                       const fs::path& result_folder) {
  json settings = prepared.config.at("parity");
  settings["prompts"] = parity::prompts_of(prepared.config);
  RunMessage run;
  run.command = "parity";
  run.config = prepared.config;
  run.config_file = arm.config_files.back();
  run.config_hash = prepared.hash;
  run.plugins = prepared.plugins;
  const bool reference = arm.index == plan.reference;
  run.args = {{"arm_dir", (result_folder / arm.folder).string()},
              {"label", arm.label},
              {"script", reference ? json() : json((result_folder / parity::script_file).string())},
              {"settings", std::move(settings)}};
  return run;
}

ArmEnd run_engine(const parity::Plan& plan, const parity::Arm& arm, const fs::path& result_folder,
                  const std::string& engine) {
  const fs::path folder = result_folder / arm.folder;
  const Prepared prepared = prepare_arm(plan, arm);
  RunMessage run = message_for(plan, arm, prepared, result_folder);
  Supervision supervision = guarded(prepared);
  supervision.report_file = (folder / "guard-report.json").string();
  if (!supervision.log_file.empty())  // each arm has a process of its own, and so a log of its own
    supervision.log_file = (folder / fs::path(supervision.log_file).filename()).string();
  supervision.quiet = true;
  supervision.stoppable = false;
  run.guard_limit_bytes = supervision.limits->limit_bytes;
  const fs::path log = folder / parity::engine_log_file;
  const Streams streams(log);
  Program program;
  program.file = engine_file(engine);
  program.stdio = streams.fds();
  const Outcome outcome = supervise(std::move(program), run, supervision);

  ArmEnd end;
  end.exit_code = outcome.exit_code;
  end.signal = outcome.signal;
  end.ok = outcome.exit_code == 0 && outcome.signal == 0;
  if (end.ok) return end;
  end.error = outcome.reason;
  if (end.error.empty()) end.error = error_in(log);
  if (end.error.empty())
    end.error = fmt::format("the engine ended with exit code {}; its words are in {}", outcome.exit_code,
                            log.string());
  return end;
}

}  // namespace

ArmEnd run_arm(const parity::Plan& plan, const parity::Arm& arm, const fs::path& result_folder,
               const std::string& engine) {
  const fs::path folder = result_folder / arm.folder;
  std::error_code failed;
  fs::remove_all(folder, failed);  // what an interrupted command left
  fs::create_directories(folder, failed);
  if (failed)
    throw Error(
        fmt::format("[parity] the folder '{}' cannot be made: {}", folder.string(), failed.message()));
  ArmEnd end;
  try {
    if (arm.error) {
      end = {false, *arm.error, arm.error_code, 0};
    } else if (arm.is_file()) {
      take_logits_file(plan, arm, result_folder);
      end.ok = true;
    } else {
      end = run_engine(plan, arm, result_folder, engine);
    }
  } catch (const Error& e) {
    end = {false, e.what(), static_cast<int>(e.code()), 0};
  }
  if (end.signal != 0) {
    fs::remove(folder / parity::arm_file, failed);  // it may say "ok" about an arm that was cut short
    return end;
  }
  const json record = read_record(folder);
  if (end.ok && record.is_null())
    end = {false, "the engine ended well but left no record of the arm", static_cast<int>(ExitCode::runtime),
           0};
  if (end.ok && record.value("status", "") != "ok")
    end = {false, "the engine ended well, but its record of the arm says otherwise",
           static_cast<int>(ExitCode::runtime), 0};
  if (!end.ok && (record.is_null() || record.value("status", "") != "failed")) write_failure(folder, end);
  return end;
}

bool is_done(const parity::Plan& plan, const parity::Arm& arm, const fs::path& result_folder) {
  const fs::path folder = result_folder / arm.folder;
  const json record = read_record(folder);
  if (record.is_null() || record.value("status", "") != "ok") return false;
  const json& identity = record.value("identity", json::object());
  if (identity.is_object() && identity.value("config_hash", arm.config_hash) != arm.config_hash) return false;
  try {
    if (fs::exists(folder / parity::logits_file)) io::SafetensorsFile::open(folder / parity::logits_file);
    if (arm.index == plan.reference)
      return plan.settings.at("train_steps") > 0 || fs::exists(result_folder / parity::script_file);
  } catch (const Error&) {
    return false;  // cut short
  }
  const json reference = read_record(result_folder / plan.arms[plan.reference].folder);
  return reference.is_object() &&
         reference.value("script_sha256", json()) == record.value("script_sha256", json());
}

}  // namespace tetrad::cli
