// The codec on a tensor of 512 MB, in bytes read and written a second, and as a share of the copy rate.
#include <tetrad/nvfp4/cuda.h>

#include <nlohmann/json.hpp>

#include "bench.h"

namespace tetrad::bench {

nlohmann::json codec_rates(const Context& context) {
  using namespace nvfp4;
  const std::int64_t rows = 16384, cols = 16384, n = rows * cols;
  const Buffer x = gaussian_bf16(static_cast<std::size_t>(n));
  const Buffer codes(static_cast<std::size_t>(n / 2)), scales(static_cast<std::size_t>(n / 16));
  const Buffer amax_bits(4), global(sizeof(GlobalScale));
  const EncodeOptions rows16{};
  const EncodeOptions tiles{Profile::te, GlobalRule::power_of_two, BlockShape::tile16x16};
  nlohmann::json out = nlohmann::json::array();
  const auto row = [&](const char* what, double bytes_per_element, const std::function<void()>& work) {
    const double ms = median_ms(context.stream, work);
    const double rate = bytes_per_element * static_cast<double>(n) / (ms * 1e-3);
    out.push_back(
        {{"what", what}, {"ms", ms}, {"gb_s", rate / 1e9}, {"share_of_copy", rate / context.copy_rate}});
  };
  const auto* from = x.as<Bf16>();
  check(cudaMemset(amax_bits.as<void>(), 0, 4), "cudaMemset");
  row("amax bf16", 2.0,
      [&] { cuda::amax(from, rows, cols, cols, amax_bits.as<std::uint32_t>(), context.stream); });
  cuda::global_scale(amax_bits.as<std::uint32_t>(), rows16, global.as<GlobalScale>(), context.stream);
  const auto quantize = [&](const EncodeOptions& options) {
    cuda::quantize(from, rows, cols, cols, global.as<GlobalScale>(), options, codes.as<std::uint8_t>(),
                   scales.as<std::uint8_t>(), {}, context.stream);
  };
  row("quantise bf16 1x16", 2.5625, [&] { quantize(rows16); });
  row("quantise bf16 16x16", 2.5625, [&] { quantize(tiles); });
  row("dequantise to bf16", 2.5625, [&] {
    cuda::dequantize(codes.as<std::uint8_t>(), scales.as<std::uint8_t>(), 1.0F, rows, cols, x.as<Bf16>(),
                     context.stream);
  });
  return out;
}

}  // namespace tetrad::bench
