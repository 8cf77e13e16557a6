#include "cli/engine/verified_kernels.h"

#include "cli/doctor/verified.h"
#include "plugin/elf_note.h"

namespace tetrad::cli {

void refuse_failed_kernels(const device::Choice& choice,
                           const std::vector<std::pair<std::string, std::string>>& plugins) {
  const std::filesystem::path file = verified_file();
  std::error_code none;
  if (file.empty() || !std::filesystem::exists(file, none)) return;
  const std::string device = device::hardware_name(choice);
  require_not_failed(file, device, "core", plugin::own_build_id());
  for (const auto& [id, build_id] : plugins)
    require_not_failed(file, device, id, build_id.empty() ? "none" : build_id);
}

}  // namespace tetrad::cli
