// What a model directory says about its own quantisation: `quantization_config` in config.json, or ModelOpt's
// hf_quant_config.json. Contract: only NVFP4 with groups of 16 is understood; every other method, bit width,
// group size or transform is refused by name, because reading it as NVFP4 would give another model.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/layout.h"

namespace tetrad::checkpoint {

struct Quantization {
  Layout layout = Layout::dense;
  bool activations = false;  // W4A4: each quantised weight brings a scale for its input
  // Modules that stay dense, as the file writes them: names, "re:..." (compressed-tensors), wildcards
  // (ModelOpt).
  std::vector<std::string> ignore;
  bool lists_modules = false;       // whether `ignore` claims to be complete
  std::vector<std::string> notes;   // for people: what of the file is not used
  std::filesystem::path stated_in;  // the file that says so

  // Whether `ignore` names the module ("model.layers.0.mlp.up_proj").
  bool ignores(std::string_view module) const;
};

// Layout::dense when nothing is said. Throws Error "[checkpoint] FILE: ..." naming field and value.
Quantization read_quantization(const std::filesystem::path& directory);

// The value of quantization_config in a config.json of `layout` (null for dense), with the names of the
// linear modules that stay dense; and the contents of hf_quant_config.json (ModelOpt).
nlohmann::json quantization_config(Layout layout, bool activations,
                                   const std::vector<std::string>& dense_modules);
nlohmann::json modelopt_quant_config(bool activations, const std::vector<std::string>& dense_modules);

}  // namespace tetrad::checkpoint
