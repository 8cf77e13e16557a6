#include "cli/engine/optimizer_loader.h"

#include "device/choose.h"
#include "model/plugin_call.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <nlohmann/json.hpp>

namespace tetrad::cli {
namespace {

const RunMessage& checked(const RunMessage& run) {
  if (run.config.at("optimizer").at("plugin").is_null())
    throw Error(ExitCode::usage,
                "[train] the config names no optimizer: set optimizer.plugin, for instance to "
                "optim-adamw-nvfp4");
  if (run.config.at("path") != "training")
    throw Error(ExitCode::usage, "[train] path is '" + run.config.at("path").get<std::string>() +
                                     "'; only the training path can be trained: set path to training");
  return run;
}

}  // namespace

OptimizerSetup optimizer_setup(const RunMessage& run, at::Device device, std::uint64_t seed) {
  const device::Choice choice = device::choose(device.str());
  OptimizerSetup setup;
  setup.device = device;
  setup.deterministic = run.config.at("run").at("deterministic").get<bool>();
  setup.seed = seed;
  setup.unified_memory =
      choice.runtime != nullptr && choice.runtime->info(choice.device.index()).unified_memory;
  return setup;
}

OptimizerLoader::OptimizerLoader(const RunMessage& run, const train::TrainSettings& settings)
    : run_(checked(run)), settings_(settings) {}

void OptimizerLoader::configured(const LinearSetup& setup) {
  optimizer_ = open_plugin<Optimizer>(run_, setup.device.is_cuda());
  const OptimizerSetup own = optimizer_setup(run_, setup.device, settings_.seed);
  capability_ = optimizer_->capability(own);
  if (capability_.support == Support::unsupported)
    throw Error(ExitCode::plugin_refused, "[" + optimizer_.id() + "] cannot run here: " + capability_.reason);
  model::check(optimizer_->configure(own), optimizer_.id(), "configure");
  states_ = std::make_unique<train::OptimizerStates>(*optimizer_, optimizer_.id(), settings_);
}

LinearBackend& OptimizerLoader::backend(LinearBackend& named, bool cuda) {
  if (settings_.finish_steps == 0) return named;
  nlohmann::json options = run_.config.at("linear").at("options");
  if (!options.contains("forward") || options.at("forward") != "hi+lo")
    throw Error(ExitCode::usage,
                "[train] train.finish makes a hi model of one that trains as hi + lo: set linear.plugin to "
                "backend-nvfp4 and linear.options.forward to hi+lo, or train.finish.steps to 0");
  options["forward"] = "hi";
  plugin::Plugin& plugin = plugin::load_for_device(plugin_ref(run_, "linear").file, cuda);
  hi_ = PluginObject<LinearBackend>(plugin, plugin_options(plugin, options));
  return forwards_.emplace(named, *hi_);
}

void OptimizerLoader::finish(bool hi) {
  if (forwards_) forwards_->use_second(hi);
}

std::string OptimizerLoader::forward() const {
  const nlohmann::json& options = run_.config.at("linear").at("options");
  if (!options.contains("forward")) return "dense";
  return forwards_ && forwards_->second() ? "hi" : options.at("forward").get<std::string>();
}

std::string OptimizerLoader::description() const {
  return fmt::format("{} {} {} ({})", optimizer_.id(), optimizer_.version(), capability_.compute,
                     support_name(capability_.support));
}

}  // namespace tetrad::cli
