// Opens the plugins that host chose for this run and makes their objects, with options in the order of each
// plugin's own schema. host has validated the values; what is missing here is a bug between the two and
// refused, not defaulted.
#pragma once

#include "cli/engine/marked_plugin.h"
#include "cli/protocol/messages.h"
#include "plugin/loader.h"

#include <tetrad/base/options.h>
#include <tetrad/torch/kv_policy.h>
#include <tetrad/torch/linear.h>
#include <tetrad/torch/optimizer.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <utility>

namespace tetrad::cli {

template <class Interface>
struct PluginKind;
template <>
struct PluginKind<LinearBackend> {
  static constexpr const char* name = "linear";
};
template <>
struct PluginKind<KvPolicy> {
  static constexpr const char* name = "kv_cache";
};
template <>
struct PluginKind<Optimizer> {
  static constexpr const char* name = "optimizer";
};

// The plugin of a kind in the run message. Throws Error(plugin_refused) when host sent none.
const PluginRef& plugin_ref(const RunMessage& run, const std::string& kind);

// Options of `plugin` out of the config's options map. Throws Error(usage) for a missing key or another type.
Options plugin_options(const plugin::Plugin& plugin, const nlohmann::json& values);
// Every option at its default.
Options default_options(const plugin::Plugin& plugin);

// An object of a plugin with the plugin's name; a crash in one of its calls names both.
template <class Interface>
class PluginObject {
 public:
  PluginObject() = default;
  PluginObject(plugin::Plugin& plugin, const Options& options)
      : plugin_(&plugin),
        handle_(plugin::create<Interface>(plugin, PluginKind<Interface>::name, options)),
        marked_(mark_calls(*handle_, plugin.id().c_str())) {}

  const std::string& id() const noexcept { return plugin_->id(); }
  const std::string& version() const noexcept { return plugin_->version(); }
  const std::string& build_id() const noexcept { return plugin_->build_id(); }
  Interface* operator->() const noexcept { return marked_.get(); }
  Interface& operator*() const noexcept { return *marked_; }

 private:
  plugin::Plugin* plugin_ = nullptr;
  plugin::Handle<Interface> handle_;
  std::unique_ptr<Interface> marked_;
};

// The run's plugin of Interface's kind, loaded for `cuda` or not, made with the options of its config
// section.
template <class Interface>
PluginObject<Interface> open_plugin(const RunMessage& run, bool cuda) {
  const std::string kind = PluginKind<Interface>::name;
  plugin::Plugin& plugin = plugin::load_for_device(plugin_ref(run, kind).file, cuda);
  return {plugin, plugin_options(plugin, run.config.at(kind).at("options"))};
}

}  // namespace tetrad::cli
