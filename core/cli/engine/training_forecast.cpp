#include "cli/engine/training_forecast.h"

#include "cli/engine/optimizer_loader.h"
#include "cli/engine/plugins.h"
#include "cli/engine/session.h"
#include "device/choose.h"
#include "io/memory.h"
#include "model/config.h"
#include "train/trainer/bytes_text.h"
#include "train/trainer/forecast.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cstdio>

namespace tetrad::cli {
namespace {

// Bytes beyond live tensors: libtorch, its allocator and kernels.
constexpr std::int64_t kProcess = std::int64_t{500} << 20;

struct Room {
  std::int64_t bytes = 0;
  std::string what;
};

// The least of what bounds the run.
Room room_for(const RunMessage& run, const device::Choice& device) {
  Room room;
  const auto bound = [&](std::int64_t bytes, const char* what) {
    if (bytes > 0 && (room.bytes == 0 || bytes < room.bytes)) room = {bytes, what};
  };
  if (device.runtime != nullptr)
    bound(device.runtime->info(device.device.index()).total_bytes, "the device's memory");
  else if (const auto system = io::system_memory())
    bound(static_cast<std::int64_t>(system->available), "the memory available on this machine");
  if (run.guard_limit_bytes) bound(static_cast<std::int64_t>(*run.guard_limit_bytes), "the guard's limit");
  return room;
}

}  // namespace

nlohmann::json forecast_training(const RunMessage& run) {
  const nlohmann::json& config = run.config;
  if (config.at("optimizer").at("plugin").is_null())
    throw Error(ExitCode::usage, "[train] the config names no optimizer: set optimizer.plugin");
  const train::TrainSettings settings = train::TrainSettings::from(config.at("train"));
  const model::ModelConfig model = model::ModelConfig::load(config.at("model").at("path").get<std::string>());
  const device::Choice device = device::choose(config.at("model").at("device").get<std::string>());
  train::ForecastInput input;
  input.rows = config.at("train").at("rows").get<std::int64_t>();
  input.width = config.at("train").at("width").get<std::int64_t>();
  input.dtype = parse_dtype(config.at("model").at("dtype").get<std::string>());
  input.cuda = device.device.is_cuda();

  const nlohmann::json& train = config.at("train");
  const nlohmann::json& linear = config.at("linear").at("options");
  input.decodes = linear.contains("eval_cache");
  input.eval_cache = linear.value("eval_cache", false) &&
                     !(train.at("self_test").empty() && train.at("self_test_files").empty());
  if (train.at("export_dir").is_string())
    input.exported = train.at("export") == "dense" ? train::ForecastInput::Export::dense
                                                   : train::ForecastInput::Export::planes;

  const Room room = room_for(run, device);
  nlohmann::json result = {
      {"limit_bytes", room.bytes}, {"limit", room.what}, {"optimizers", nlohmann::json::array()}};
  std::int64_t needed = 0;
  for (const PluginRef& ref : run.plugins) {
    const bool chosen = ref.kind == "optimizer";
    if (!chosen && ref.kind != "other optimizer") continue;
    plugin::Plugin& plugin = plugin::load_for_device(ref.file, input.cuda);
    const PluginObject<Optimizer> optimizer(
        plugin,
        chosen ? plugin_options(plugin, config.at("optimizer").at("options")) : default_options(plugin));
    if (const Capability answer = optimizer->capability(optimizer_setup(run, device.device, settings.seed));
        chosen && answer.support == Support::unsupported)
      throw Error(ExitCode::plugin_refused, "[" + ref.id + "] cannot run here: " + answer.reason);
    const train::Forecast forecast = train::forecast(model, *optimizer, ref.id, settings, input);
    const std::int64_t peak = forecast.peak() + (input.cuda ? 0 : kProcess);
    std::fprintf(stderr, "[forecast] %s%s\n", forecast.text(ref.id).c_str(), chosen ? "  <- chosen" : "");
    nlohmann::json entry = forecast.json();
    entry["optimizer"] = ref.id;
    entry["chosen"] = chosen;
    entry["peak_bytes"] = peak;
    entry["fits"] = room.bytes == 0 || peak <= room.bytes;
    result["optimizers"].push_back(std::move(entry));
    if (chosen) needed = peak;
  }
  result["fits"] = room.bytes == 0 || needed <= room.bytes;
  std::fprintf(stderr, "[forecast] needs about %s; %s: %s -> %s\n", train::bytes_text(needed).c_str(),
               room.what.c_str(), train::bytes_text(room.bytes).c_str(),
               result["fits"].get<bool>() ? "it fits" : "it does not fit");
  if (!result["fits"].get<bool>())
    throw Error(
        fmt::format("[train] the run needs about {}, more than {} ({}): use train.checkpointing block, a "
                    "smaller train.rows or train.width, or an optimizer that needs less",
                    train::bytes_text(needed), room.what, train::bytes_text(room.bytes)));
  return result;
}

}  // namespace tetrad::cli
