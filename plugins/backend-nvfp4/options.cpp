#include "options.h"

#include <array>
#include <string>
#include <string_view>
#include <utility>

namespace tetrad::backend_nvfp4 {
namespace {

template <class T, std::size_t N>
using Names = std::array<std::pair<const char*, T>, N>;

constexpr Names<Compute, 4> kCompute{{{"auto", Compute::automatic},
                                      {"native", Compute::native},
                                      {"emulated", Compute::emulated},
                                      {"reference", Compute::reference}}};
constexpr Names<Residency, 3> kResidency{
    {{"auto", Residency::automatic}, {"planes", Residency::planes}, {"dense", Residency::dense}}};
constexpr Names<nvfp4::Profile, 4> kProfile{{{"te", nvfp4::Profile::te},
                                             {"torchao_inference", nvfp4::Profile::torchao_inference},
                                             {"modelopt", nvfp4::Profile::modelopt},
                                             {"compressed_tensors", nvfp4::Profile::compressed_tensors}}};
constexpr Names<nvfp4::GlobalRule, 2> kGlobal{
    {{"power_of_two", nvfp4::GlobalRule::power_of_two}, {"exact", nvfp4::GlobalRule::exact}}};
constexpr Names<bool, 2> kForward{{{"hi+lo", true}, {"hi", false}}};
constexpr Names<bool, 2> kActivations{{{"dense", false}, {"nvfp4", true}}};
constexpr Names<bool, 2> kPacked{{{"packed", true}, {"dense", false}}};

template <class T, std::size_t N>
T read(const Options& options, const char* key, const Names<T, N>& names) {
  const std::string& text = options.get<std::string>(key);
  std::string known;
  for (const auto& [name, value] : names) {
    if (text == name) return value;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  throw StatusError(StatusCode::invalid_option, std::string(key) + ": '" + text + "' is not one of " + known);
}

}  // namespace

BackendOptions read_options(const Options& options) {
  BackendOptions o;
  o.eval_cache = options.get<bool>("eval_cache");
  o.residency = read(options, "residency", kResidency);
  o.compute = read(options, "compute", kCompute);
  o.quantise_activations = read(options, "activations", kActivations);
  o.encode.profile = read(options, "profile", kProfile);
  o.encode.global = read(options, "global_scale", kGlobal);
  o.pack_head = read(options, "head", kPacked);
  o.forward_lo = read(options, "forward", kForward);
  o.pack_embedding = read(options, "embedding", kPacked);
  return o;
}

const char* profile_name(nvfp4::Profile profile) noexcept {
  for (const auto& [name, value] : kProfile)
    if (value == profile) return name;
  return "unknown";
}

}  // namespace tetrad::backend_nvfp4
