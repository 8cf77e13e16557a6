#include "check/verify_core.h"

#include "check/compare.h"
#include "check/linear_rig.h"
#include "generate/device_sampler.h"
#include "ops/attention.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <tetrad/nvfp4/dense_product.h>
#include <tetrad/nvfp4/plane_codec.h>
#include <tetrad/nvfp4/product.h>
#include <tetrad/nvfp4/reference.h>

#include <cmath>
#include <cstring>
#include <initializer_list>

namespace tetrad::check {
namespace {

using Bytes = std::vector<std::uint8_t>;

template <class T>
std::vector<T> values_of(const at::Tensor& w) {
  std::vector<T> out;
  const float* from = w.const_data_ptr<float>();
  for (std::int64_t i = 0; i < w.numel(); ++i) out.push_back(nvfp4::from_float<T>(from[i]));
  return out;
}

template <class T>
void require_same_bytes(const std::vector<T>& got, const std::vector<T>& expected, const std::string& what) {
  if (std::memcmp(got.data(), expected.data(), got.size() * sizeof(T)) == 0) return;
  std::size_t at = 0;
  while (std::memcmp(&got[at], &expected[at], sizeof(T)) == 0) ++at;
  throw Failure(fmt::format("{}: item {} of {} differs from the reference", what, at, got.size()));
}

template <class T>
void verify_encoding(const at::Tensor& w, nvfp4::BlockShape block, int& checked) {
  const std::int64_t rows = w.size(0), cols = w.size(1);
  const std::vector<T> x = values_of<T>(w);
  nvfp4::EncodeOptions options;
  options.block = block;
  const nvfp4::Amax amax = nvfp4::amax(x.data(), rows, cols, cols);
  require(amax.value == nvfp4::reference::amax(x.data(), rows, cols, cols).value, "amax differs");
  const nvfp4::GlobalScale global = nvfp4::global_scale(amax.value, options);
  Bytes codes(static_cast<std::size_t>(rows * nvfp4::packed_cols(cols) / 2)), codes2 = codes;
  Bytes scales(static_cast<std::size_t>(rows * nvfp4::packed_cols(cols) / 16)), scales2 = scales;
  nvfp4::quantize(x.data(), rows, cols, cols, global, options, codes.data(), scales.data());
  nvfp4::reference::quantize(x.data(), rows, cols, cols, global, options, codes2.data(), scales2.data());
  require_same_bytes(scales, scales2, "block scales");
  require_same_bytes(codes, codes2, "codes");
  std::vector<T> a(x.size()), b(x.size());
  // Any bytes are residual planes: the weight's own codes, read backwards.
  Bytes lo(codes.rbegin(), codes.rend()), lo2 = codes;
  for (const int planes : {1, 2, 3}) {
    const nvfp4::PlanesView view{codes.data(), scales.data(), planes > 1 ? lo.data() : nullptr,
                                 planes > 2 ? lo2.data() : nullptr};
    for (const auto value : {nvfp4::PlaneValue::exact, nvfp4::PlaneValue::folded}) {
      nvfp4::dequantize_planes(view, global.decode, value, rows, cols, a.data());
      nvfp4::reference::dequantize_planes(view, global.decode, value, rows, cols, b.data());
      require_same_bytes(a, b, fmt::format("dequantised values of {} planes", planes));
    }
  }
  ++checked;
}

// sum over queries' visible keys in fp64: softmax(q k^T scale) v, and the same with |v|.
struct Exact {
  at::Tensor value, mass;
};
Exact exact_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  const std::int64_t queries = q.size(0), heads = q.size(1), dim = q.size(2), keys = k.size(1);
  const std::int64_t share = heads / k.size(0);
  const at::Tensor qd = to_fp64(q), kd = to_fp64(k), vd = to_fp64(v);
  const at::Tensor value = at::empty({queries, heads, dim}, at::kDouble), mass = at::empty_like(value);
  for (std::int64_t i = 0; i < queries; ++i) {
    const std::int64_t visible = keys - queries + i + 1;
    for (std::int64_t h = 0; h < heads; ++h) {
      const at::Tensor kh = kd[h / share].narrow(0, 0, visible), vh = vd[h / share].narrow(0, 0, visible);
      const at::Tensor p = at::softmax(at::mv(kh, qd[i][h]) * scale, 0);
      value[i][h].copy_(at::mv(vh.t(), p));
      mass[i][h].copy_(at::mv(vh.abs().t(), p));
    }
  }
  return {value.reshape({queries, heads * dim}), mass.reshape({queries, heads * dim})};
}

}  // namespace

Result verify_codec() {
  at::manual_seed(20);
  int checked = 0;
  for (const auto& [rows, cols] :
       {std::pair<std::int64_t, std::int64_t>{64, 256}, {33, 250}, {1, 17}, {16, 4096}}) {
    const at::Tensor w = awkward_weight(rows, cols, at::kFloat);
    for (const auto block : {nvfp4::BlockShape::row16, nvfp4::BlockShape::tile16x16}) {
      verify_encoding<float>(w, block, checked);
      verify_encoding<nvfp4::Bf16>(w, block, checked);
      verify_encoding<nvfp4::Fp16>(w, block, checked);
    }
  }
  return {fmt::format("{} matrices, bit for bit the reference's", checked), {}, {}};
}

Result verify_products() {
  at::manual_seed(21);
  Worst worst;
  for (const std::int64_t m : {1, 3, 8}) {
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{64, 576}, {33, 250}, {7, 17}}) {
      const at::Tensor w = awkward_weight(n, k, at::kFloat), x = at::randn({m, k});
      const std::vector<nvfp4::Bf16> xs = values_of<nvfp4::Bf16>(x);
      const nvfp4::EncodeOptions options;
      const auto global = nvfp4::global_scale(nvfp4::amax(w.const_data_ptr<float>(), n, k, k).value, options);
      Bytes codes(static_cast<std::size_t>(n * nvfp4::packed_cols(k) / 2));
      Bytes scales(static_cast<std::size_t>(n * nvfp4::packed_cols(k) / 16));
      nvfp4::quantize(w.const_data_ptr<float>(), n, k, k, global, options, codes.data(), scales.data());
      const at::Tensor decoded = at::empty({n, k}), y = at::empty({m, n}), y2 = at::empty({m, n});
      nvfp4::reference::dequantize(codes.data(), scales.data(), global.decode, n, k,
                                   decoded.data_ptr<float>());
      nvfp4::product(xs.data(), m, k, {codes.data(), scales.data(), global.decode, n, k}, 0, n,
                     y.data_ptr<float>(), n);
      const std::vector<nvfp4::Bf16> dense = values_of<nvfp4::Bf16>(decoded);
      std::vector<float> prepared(static_cast<std::size_t>(nvfp4::dense_prepared_floats(m, k)));
      nvfp4::dense_prepare(xs.data(), m, k, k, prepared.data());
      nvfp4::dense_product_prepared(prepared.data(), m, {dense.data(), 1.0F, n, k}, 0, n,
                                    y2.data_ptr<float>(), n);
      const at::Tensor exact_x = x.to(at::kBFloat16).to(at::kDouble), exact_w = decoded.to(at::kDouble).t();
      require_product(y, exact_x, exact_w, 3e-7, "product with packed weights", worst);
      require_product(y2, exact_x, exact_w, 3e-7, "product with dense weights", worst);
    }
  }
  return {fmt::format("at {:.2g} of the bound", worst.ratio), {}, {}};
}

Result verify_attention(at::Device device, at::ScalarType dtype) {
  at::manual_seed(22);
  const double unit = rounding_unit(dtype);
  double worst = 0;
  for (const std::int64_t dim : {64, 128}) {
    for (const auto& [queries, keys] :
         {std::pair<std::int64_t, std::int64_t>{1, 1}, {1, 77}, {1, 600}, {5, 133}, {33, 96}, {48, 48}}) {
      const at::Tensor q = at::randn({queries, 16, dim}).to(dtype).to(device);
      const at::Tensor k = at::randn({8, keys, dim}).to(dtype).to(device);
      const at::Tensor v = at::randn({8, keys, dim}).to(dtype).to(device);
      const double scale = 1.0 / std::sqrt(static_cast<double>(dim));
      const Exact exact = exact_attention(q, k, v, scale);
      // Scores and weights may be rounded to the dtype on the way, each moves a sum by that part of its mass.
      const at::Tensor allowed =
          exact.mass * (8 * unit + 1e-5) + exact.value.abs() * unit + (dtype == at::kHalf ? 1e-6 : 1e-30);
      const at::Tensor got = to_fp64(ops::causal_attention(q, k, v, scale));
      const double ratio = at::nan_to_num((got - exact.value).abs() / allowed, INFINITY, INFINITY, INFINITY)
                               .max()
                               .item<double>();
      worst = std::max(worst, ratio);
      require(ratio <= 1.0,
              fmt::format("attention of {} queries over {} keys, head size {}: {:.3g} times the "
                          "error that {} allows",
                          queries, keys, dim, ratio, at::toString(dtype)));
    }
  }
  return {fmt::format("at {:.2g} of the bound", worst), {}, {}};
}

Result verify_sampling(at::Device device) {
  at::manual_seed(23);
  int served = 0, all = 0;
  generate::DeviceSampler on_device;
  std::vector<std::int32_t> context;
  for (const std::int64_t n : {std::int64_t{1000}, std::int64_t{151936}}) {
    for (const generate::SamplingOptions& options : std::initializer_list<generate::SamplingOptions>{
             {.temperature = 0.6, .top_k = 20, .top_p = 0.95, .seed = 1},
             {.temperature = 0.7, .top_p = 0.8, .seed = 2},
             {.temperature = 1.0, .min_p = 0.01, .seed = 3},
             {.temperature = 0.0, .repetition_penalty = 1.2},
             {.temperature = 0.8, .top_k = 50, .repetition_penalty = 1.2, .seed = 4}}) {
      generate::Sampler host(options), theirs(options);
      for (int draw = 0; draw < 8; ++draw, ++all) {
        const at::Tensor logits = at::randn({n}) * 4;
        logits[n / 3 + draw] = 14.0F;
        context.push_back(static_cast<std::int32_t>(n / 3 + draw));
        const generate::Choice expected =
            host.pick({logits.const_data_ptr<float>(), static_cast<std::size_t>(n)}, context);
        const auto got = on_device.pick(logits.to(device), context, theirs);
        if (!got) {
          theirs.skip();
          continue;
        }
        ++served;
        require(got->id == expected.id && got->top1 == expected.top1 && got->top2 == expected.top2,
                fmt::format("sampling from {} logits, temperature {}: token {} on the device, {} on the host",
                            n, options.temperature, got->id, expected.id));
      }
    }
  }
  require(2 * served > all,
          fmt::format("the device chose {} of {} tokens, the rest was the host's", served, all));
  return {fmt::format("{} tokens, the host's", served), {}, {}};
}

}  // namespace tetrad::check
