// What low-precision products read and what the planes of a weight cost: encoding of operands (either way
// round, rotated, drawn), activations to NVFP4 and back, block scales to and from the 128 x 4 layout, planes.
// In bytes read and written a second, and as a share of the copy rate; amax and global scale are given.
#include <tetrad/nvfp4/cuda/operand_codec.h>
#include <tetrad/nvfp4/cuda/planes.h>

#include <nlohmann/json.hpp>

#include "bench.h"

namespace tetrad::bench {

nlohmann::json operand_rates(const Context& context) {
  using namespace nvfp4;
  const std::int64_t rows = 8192, cols = 16384, n = rows * cols;
  const Buffer x = gaussian_bf16(static_cast<std::size_t>(n)), y(static_cast<std::size_t>(2 * n));
  const Buffer codes(static_cast<std::size_t>(n / 2)), lo(static_cast<std::size_t>(n / 2)),
      scales(static_cast<std::size_t>(n / 16)), swizzled(static_cast<std::size_t>(n / 16));
  const Buffer amax_bits(4), global(sizeof(GlobalScale));
  nlohmann::json out = nlohmann::json::array();
  const auto row = [&](const char* what, double bytes_per_element, const std::function<void()>& work) {
    const double ms = median_ms(context.stream, work);
    const double rate = bytes_per_element * static_cast<double>(n) / (ms * 1e-3);
    out.push_back(
        {{"what", what}, {"ms", ms}, {"gb_s", rate / 1e9}, {"share_of_copy", rate / context.copy_rate}});
  };
  const auto* from = x.as<Bf16>();
  auto* const bits = amax_bits.as<std::uint32_t>();
  auto* const code = codes.as<std::uint8_t>();
  auto* const scale = scales.as<std::uint8_t>();
  auto* const g = global.as<GlobalScale>();
  check(cudaMemset(bits, 0, 4), "cudaMemset");
  cuda::amax(from, rows, cols, cols, bits, context.stream);
  cuda::global_scale(bits, {}, g, context.stream);

  const auto amax = [&](Operand operand) {
    return [&, operand] { cuda::operand_amax(from, rows, cols, cols, operand, bits, context.stream); };
  };
  row("amax, rotated", 2.0, amax({false, true}));
  row("amax, transposed", 2.0, amax({true, false}));
  const auto encode = [&](Operand operand, Rounding rounding, BlockTarget target) {
    EncodeOptions options;
    options.rounding = rounding;
    options.target = target;
    return [&, operand, options] {
      cuda::quantize_operand(from, rows, cols, cols, operand, g, options, code, scale, {}, context.stream);
    };
  };
  const auto nearest = Rounding::nearest, drawn = Rounding::stochastic;
  const auto six = BlockTarget::six, either = BlockTarget::four_or_six;
  row("encode", 2.5625, encode({false, false}, nearest, six));
  row("encode, four or six", 2.5625, encode({false, false}, nearest, either));
  row("encode, stochastic", 2.5625, encode({false, false}, drawn, six));
  row("encode, rotated", 2.5625, encode({false, true}, nearest, six));
  row("encode, transposed", 2.5625, encode({true, false}, nearest, six));
  row("encode, transposed, rotated, stochastic", 2.5625, encode({true, true}, drawn, six));
  row("activations to NVFP4 and back", 4.0,
      [&] { cuda::requantize(from, rows, cols, g, y.as<Bf16>(), {}, context.stream); });
  row("swizzle block scales", 0.125,
      [&] { cuda::swizzle_scales(scale, rows, cols / kBlock, swizzled.as<std::uint8_t>(), context.stream); });
  row("unswizzle block scales", 0.125, [&] {
    cuda::unswizzle_scales(swizzled.as<std::uint8_t>(), rows, cols / kBlock, scale, context.stream);
  });

  const auto planes = [&](bool stochastic) {
    LastPlane last;
    last.stochastic = stochastic;
    return [&, last] {
      PlanesOut to;
      to.codes = code;
      to.scales = scale;
      to.lo = lo.as<std::uint8_t>();
      cuda::quantize_planes(from, rows, cols, cols, g, last, to, {}, context.stream);
    };
  };
  row("encode hi + lo", 3.0625, planes(false));
  row("encode hi + lo, stochastic", 3.0625, planes(true));
  PlanesView view;
  view.codes = code;
  view.scales = scale;
  view.lo = lo.as<std::uint8_t>();
  row("decode hi + lo to bf16", 3.0625, [&] {
    cuda::dequantize_planes(view, 1.0F, PlaneValue::exact, rows, cols, y.as<Bf16>(), context.stream);
  });
  return out;
}

}  // namespace tetrad::bench
