// Options of backend-nvfp4, read once from what the host checked against plugin.json. What they mean is said
// there.
#pragma once

#include <tetrad/base/options.h>
#include <tetrad/nvfp4/profile.h>

#include <cstdint>

namespace tetrad::backend_nvfp4 {

enum class Compute : std::uint8_t { automatic, native, emulated, reference };
enum class Residency : std::uint8_t { automatic, planes, dense };

struct BackendOptions {
  bool eval_cache = true;
  Residency residency = Residency::automatic;
  Compute compute = Compute::automatic;
  nvfp4::EncodeOptions encode;
  bool pack_head = true;
  bool pack_embedding = false;
  bool quantise_activations = false;  // products read x in NVFP4 where the weight is in NVFP4
  bool forward_lo = true;  // a parameter with residual planes is their sum in every product; false: hi alone
};

// Throws StatusError(invalid_option) that names the key, the value and the values there are.
BackendOptions read_options(const Options& options);

const char* profile_name(nvfp4::Profile profile) noexcept;

}  // namespace tetrad::backend_nvfp4
