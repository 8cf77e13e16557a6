// `doctor`, the engine's part: what only a process with libtorch in it can tell. The answer goes to host as a
// phase.
#include "cli/engine/commands.h"
#include "device/choose.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <link.h>
#include <tetrad/base/error.h>
#include <torch/version.h>

#include <nlohmann/json.hpp>

#include <string>

namespace tetrad::cli {
namespace {

int add_file(dl_phdr_info* info, std::size_t, void* list) {
  if (info->dlpi_name != nullptr && info->dlpi_name[0] != '\0') {
    static_cast<nlohmann::json*>(list)->push_back(info->dlpi_name);
  }
  return 0;
}

}  // namespace

int run_doctor(Control& control) {
  nlohmann::json answer;
  answer["libtorch"] = TORCH_VERSION;
  answer["threads"] = at::get_num_threads();
  answer["cpu_capability"] = at::get_cpu_capability();
  try {
    const device::Choice choice = device::choose("auto");
    answer["device"] = choice.device.str();
    answer["device_note"] = choice.note;
  } catch (const Error& error) {
    answer["device_note"] = error.what();
  }
  nlohmann::json files = nlohmann::json::array();
  dl_iterate_phdr(add_file, &files);
  answer["loaded_files"] = files;
  control.phase("doctor", {}, {}, answer);
  return 0;
}

}  // namespace tetrad::cli
