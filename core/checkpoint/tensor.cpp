#include "checkpoint/tensor.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>

#include "io/safetensors.h"

namespace tetrad::checkpoint {

std::string describe(const Tensor& tensor) {
  if (!tensor.planes) return io::describe(tensor.dtype, tensor.shape);
  return (tensor.planes->lo_codes.empty() ? "NVFP4 " : "NVFP4 hi+lo ") + io::describe(tensor.shape);
}

void check_block_scales(const Tensor& tensor, const std::string& where) {
  if (!tensor.planes) return;
  const auto scales = tensor.planes->scales;
  // E4M3 codes 0x00 .. 0x7E are the numbers 0 .. 448; 0x7F and 0xFF are NaN, the rest is negative.
  const auto bad =
      std::find_if(scales.begin(), scales.end(), [](std::byte b) { return b > std::byte{0x7E}; });
  if (bad == scales.end()) return;
  const auto at = bad - scales.begin(), blocks = tensor.shape[1] / 16;
  const bool nan = (*bad & std::byte{0x7F}) == std::byte{0x7F};
  throw Error(
      ExitCode::numerics,
      fmt::format("[checkpoint] {}: '{}': the block scale of row {}, columns {} to {} is {} (0x{:02X}); "
                  "block scales are 0 to 448{}",
                  where, tensor.name, at / blocks, at % blocks * 16, at % blocks * 16 + 15,
                  nan ? "NaN" : "negative", std::to_integer<unsigned>(*bad),
                  nan ? ": the file was made from weights that were not finite" : ""));
}

}  // namespace tetrad::checkpoint
