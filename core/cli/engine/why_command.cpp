// `why`, the engine's part: opens the candidates that host could load and asks each what it would do here, so
// that static claims and live answers can be compared.
#include "cli/engine/commands.h"
#include "cli/engine/plugins.h"
#include "device/choose.h"

#include <tetrad/base/error.h>
#include <tetrad/torch/linear.h>

#include <nlohmann/json.hpp>

#include <string>

namespace tetrad::cli {

int run_why(Control& control) {
  const nlohmann::json& args = control.run().args;
  LinearSetup setup;
  setup.device = device::choose(args.value("device", "auto")).device;
  nlohmann::json answers = nlohmann::json::array();
  for (const PluginRef& ref : control.run().plugins) {
    if (ref.kind != "linear") continue;
    for (const Path path : {Path::training, Path::bridge}) {
      setup.path = path;
      nlohmann::json answer = {{"id", ref.id},
                               {"path", path == Path::training ? "training" : "bridge"},
                               {"device", setup.device.str()}};
      try {
        plugin::Plugin& loaded = plugin::load_for_device(ref.file, setup.device.is_cuda());
        const PluginObject<LinearBackend> backend(loaded, default_options(loaded));
        const Capability capability = backend->capability(setup);
        answer["support"] = support_name(capability.support);
        answer["compute"] = capability.compute;
        answer["reason"] = capability.reason;
      } catch (const Error& error) {
        answer["support"] = "unsupported";
        answer["reason"] = error.what();
      }
      answers.push_back(answer);
    }
  }
  control.phase("why", {}, {}, {{"answers", answers}});
  return 0;
}

}  // namespace tetrad::cli
