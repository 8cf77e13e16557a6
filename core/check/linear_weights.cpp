// What prepare() makes of a parameter: the stored weight against its values under the rule that
// numerics.weights declares, NVFP4 planes against the codec, and the parameter itself.
#include "check/compare.h"
#include "check/linear_cases.h"
#include "check/linear_rig.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <tetrad/nvfp4/plane_codec.h>
#include <tetrad/nvfp4/reference.h>

#include <algorithm>
#include <cmath>

namespace tetrad::check {
namespace {

template <class F>
void with_elements(const at::Tensor& w, F&& f) {
  switch (w.scalar_type()) {
    case at::kFloat:
      f(static_cast<const float*>(w.const_data_ptr()));
      break;
    case at::kHalf:
      f(static_cast<const nvfp4::Fp16*>(w.const_data_ptr()));
      break;
    default:
      f(static_cast<const nvfp4::Bf16*>(w.const_data_ptr()));
      break;
  }
}

Planes encode(const at::Tensor& w, const nvfp4::EncodeOptions& options) {
  const at::Tensor values = w.to(at::kCPU).contiguous();
  const std::int64_t rows = values.size(0), cols = values.size(1), padded = nvfp4::packed_cols(cols);
  Planes planes;
  planes.codes = at::zeros({rows, padded / 2}, at::kByte);
  planes.scales = at::zeros({rows, padded / 16}, at::kByte);
  with_elements(values, [&](const auto* data) {
    const auto global = nvfp4::global_scale(nvfp4::reference::amax(data, rows, cols, cols).value, options);
    nvfp4::reference::quantize(data, rows, cols, cols, global, options, planes.codes.data_ptr<std::uint8_t>(),
                               planes.scales.data_ptr<std::uint8_t>());
    planes.decode_scale = global.decode;
  });
  return planes;
}

// fp32 [rows, cols] as the codec's plain reference decodes it.
at::Tensor decode(const Planes& planes, std::int64_t cols) {
  const std::int64_t rows = planes.codes.size(0);
  at::Tensor out = at::empty({rows, cols}, at::kFloat);
  nvfp4::reference::dequantize(planes.codes.data_ptr<std::uint8_t>(), planes.scales.data_ptr<std::uint8_t>(),
                               planes.decode_scale, rows, cols, out.data_ptr<float>());
  return out;
}

// `count` tied planes of w (fp32), the last one rounded to nearest.
Planes encode_tied(const at::Tensor& w, int count) {
  const std::int64_t rows = w.size(0), cols = w.size(1), padded = nvfp4::packed_cols(cols);
  Planes planes;
  const auto bytes = [&](std::int64_t columns) { return at::zeros({rows, columns}, at::kByte); };
  planes.codes = bytes(padded / 2);
  planes.scales = bytes(padded / 16);
  planes.lo_codes = bytes(padded / 2);
  if (count > 2) planes.lo2_codes = bytes(padded / 2);
  const float* data = w.const_data_ptr<float>();
  const auto global = nvfp4::power_of_two_scale(nvfp4::reference::amax(data, rows, cols, cols).value);
  nvfp4::quantize_planes(data, rows, cols, cols, global, {},
                         {planes.codes.data_ptr<std::uint8_t>(), planes.scales.data_ptr<std::uint8_t>(),
                          planes.lo_codes.data_ptr<std::uint8_t>(),
                          count > 2 ? planes.lo2_codes.data_ptr<std::uint8_t>() : nullptr});
  planes.decode_scale = global.decode;
  return planes;
}

// The exact sum of the planes, fp32 [rows, cols].
at::Tensor decode_tied(const Planes& planes, std::int64_t cols, int count) {
  at::Tensor out = at::empty({planes.codes.size(0), cols}, at::kFloat);
  nvfp4::reference::dequantize_planes(
      {planes.codes.data_ptr<std::uint8_t>(), planes.scales.data_ptr<std::uint8_t>(),
       planes.lo_codes.data_ptr<std::uint8_t>(),
       count > 2 ? planes.lo2_codes.data_ptr<std::uint8_t>() : nullptr},
      planes.decode_scale, nvfp4::PlaneValue::exact, out.size(0), cols, out.data_ptr<float>());
  return out;
}

std::string block_of(std::int64_t row, std::int64_t col, std::int64_t group) {
  if (group <= 0) return fmt::format("row {}", row);
  return fmt::format("row {}, columns {} to {}", row, col / group * group, col / group * group + group - 1);
}

// The greatest |w| of each element's group, as a tensor of w's shape; w in fp64.
at::Tensor group_amax(const at::Tensor& w, std::int64_t group) {
  const at::Tensor size = w.abs();
  if (group == 0) return at::full_like(w, size.max().item<double>());
  if (group < 0) return size.amax(1, true).expand_as(w);
  at::Tensor result = at::empty_like(w);
  for (std::int64_t from = 0; from < w.size(1); from += group) {
    const std::int64_t n = std::min(group, w.size(1) - from);
    result.narrow(1, from, n).copy_(size.narrow(1, from, n).amax(1, true).expand({w.size(0), n}));
  }
  return result;
}

void require_within(const at::Tensor& got, const at::Tensor& dense, const WeightRule& rule, double& worst) {
  const at::Tensor ours = to_fp64(got), theirs = to_fp64(dense);
  const at::Tensor amax = group_amax(theirs, rule.group);
  const at::Tensor allowed =
      amax * rule.bound + theirs.abs() * (rule.bound > 0 ? rounding_unit(got.scalar_type()) : 0.0) + 1e-300;
  const at::Tensor ratio =
      at::nan_to_num((ours - theirs).abs() / allowed, INFINITY, INFINITY, INFINITY).flatten();
  const std::int64_t at = ratio.argmax().item<std::int64_t>();
  worst = std::max(worst, ratio[at].item<double>());
  if (ratio[at].item<double>() <= 1.0) return;
  const std::int64_t row = at / got.size(1), col = at % got.size(1);
  throw Failure(
      fmt::format("dequantized {}: element [{}, {}] is {:.6g}, the parameter's value is {:.6g}: off by "
                  "{:.3g} of the greatest "
                  "|w| in {}, declared is at most {:.3g}",
                  describe(got), row, col, ours[row][col].item<double>(), theirs[row][col].item<double>(),
                  std::abs(ours[row][col].item<double>() - theirs[row][col].item<double>()) /
                      std::max(amax[row][col].item<double>(), 1e-300),
                  rule.group == 0 ? "the tensor" : block_of(row, col, rule.group), rule.bound));
}

// Equal to the codec, or Failure that names the first wrong block and by what factor it is wrong.
void require_codec(const at::Tensor& got, const at::Tensor& decoded) {
  const at::Tensor expected = decoded.to(got.scalar_type());
  if (same_bits(at::where(got.to(at::kCPU).eq(0), at::zeros({}, got.scalar_type()), got.to(at::kCPU)),
                at::where(expected.eq(0), at::zeros({}, expected.scalar_type()), expected)))
    return;
  const at::Tensor ours = to_fp64(got), theirs = to_fp64(expected);
  const std::int64_t flat = ours.ne(theirs).flatten().to(at::kByte).argmax().item<std::int64_t>();
  const std::int64_t row = flat / got.size(1), col = flat % got.size(1);
  const double wrong = ours[row][col].item<double>(), right = theirs[row][col].item<double>();
  throw Failure(fmt::format(
      "dequantized {}: {} elements are not what the NVFP4 codec decodes; the first is [{}, {}] "
      "({}): {:.6g}, must be {:.6g}{}",
      describe(got), ours.ne(theirs).sum().item<std::int64_t>(), row, col, block_of(row, col, nvfp4::kBlock),
      wrong, right, right != 0 ? fmt::format(", a factor of {:.6g}", wrong / right) : ""));
}

struct Size {
  std::int64_t n, k;
};
constexpr Size sizes[] = {{32, 64}, {5, 128}, {37, 192}, {1, 64}, {7, 33}, {48, 250}, {3, 16}, {4, 17}};

}  // namespace

Result check_weights(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  const WeightRule& rule = target.contract.weights;
  if (rule.reference == WeightRule::Reference::undeclared)
    throw Skip("numerics.weights is not declared, so nothing says what the weight must be");
  double worst = 0;
  int checked = 0, refused = 0;
  for (const Size size : sizes) {
    const at::Tensor dense = awkward_weight(size.n, size.k, at.dtype);
    WeightId id = -1;
    if (size.k % 64 == 0) {
      id = rig.add(dense.clone());
    } else if (!rig.try_add(dense.clone(), id)) {
      ++refused;
      continue;
    }
    const at::Tensor got = rig.dequantized(id);
    if (rule.reference == WeightRule::Reference::nvfp4) {
      require_codec(got, decode(encode(dense, rule.encode), size.k));
    } else {
      require_within(got, dense, rule, worst);
    }
    ++checked;
  }
  std::string detail = rule.reference == WeightRule::Reference::nvfp4
                           ? fmt::format("{} matrices, bit for bit the NVFP4 codec's", checked)
                           : fmt::format("{} matrices, worst error {:.2g} of the declared bound {:.3g}",
                                         checked, worst, rule.bound);
  if (refused > 0) detail += fmt::format("; {} shapes refused", refused);
  return {detail, {{"matrices", checked}, {"refused", refused}, {"worst_of_bound", worst}}, {}};
}

Result check_planes(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  Worst worst;
  int checked = 0;
  std::deque<Parameter> parameters;
  for (const auto rule : {nvfp4::GlobalRule::power_of_two, nvfp4::GlobalRule::exact}) {
    for (const Size size : sizes) {
      nvfp4::EncodeOptions options;
      options.global = rule;
      const Planes planes = encode(awkward_weight(size.n, size.k, at::kFloat), options);
      const at::Tensor decoded = decode(planes, size.k);
      Parameter p;
      p.name = fmt::format("check.planes.{}.weight", checked);
      p.shape = {size.n, size.k};
      p.format = Format::nvfp4_hi;
      p.planes = {rig.to_device(planes.codes), rig.to_device(planes.scales), planes.decode_scale, {}, {}};
      parameters.push_back(std::move(p));
      WeightId id = -1;
      require_ok(rig.backend.prepare(parameters.back(), id),
                 fmt::format("prepare of NVFP4 planes [{}, {}]", size.n, size.k));
      at::Tensor got;
      require_ok(rig.backend.dequantized(id, got), "dequantized");
      require(got.defined() && got.sizes() == decoded.sizes() && got.scalar_type() == at.dtype,
              "dequantized gave " + describe(got));
      require_codec(got, decoded);
      // A global scale that is no power of two acts on the fp32 sum, so products follow the exact weight.
      for (const std::int64_t rows : {1, 40}) {
        const at::Tensor x = rig.input(rows, size.k);
        require_product(rig.forward(id, x, Pass::eval), to_fp64(x), to_fp64(decoded).t(), rig.bound,
                        fmt::format("forward of {} with planes [{}, {}], global scale {}", describe(x),
                                    size.n, size.k, planes.decode_scale),
                        worst);
      }
      ++checked;
    }
  }
  return {
      fmt::format("{} matrices, decoded bit for bit; products at {:.2g} of the bound", checked, worst.ratio),
      {{"matrices", checked}, {"worst_of_bound", worst.ratio}},
      {}};
}

// Residual planes: the weight is the sum of the planes, rounded once to the run's dtype, or hi alone where
// the backend's options say so; whichever it is, every product uses that one.
Result check_tied_planes(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  const bool three =
      std::find(target.contract.claims.weight_formats.begin(), target.contract.claims.weight_formats.end(),
                "nvfp4_hi_lo_lo2") != target.contract.claims.weight_formats.end();
  Worst worst;
  int checked = 0, sums = 0;
  std::deque<Parameter> parameters;
  for (const int count : {2, 3}) {
    if (count == 3 && !three) continue;
    for (const Size size : sizes) {
      const Planes planes = encode_tied(awkward_weight(size.n, size.k, at::kFloat), count);
      Parameter p;
      p.name = fmt::format("check.tied.{}.weight", checked);
      p.shape = {size.n, size.k};
      p.format = count == 2 ? Format::nvfp4_hi_lo : Format::nvfp4_hi_lo_lo2;
      p.planes = {rig.to_device(planes.codes), rig.to_device(planes.scales), planes.decode_scale,
                  rig.to_device(planes.lo_codes),
                  count == 3 ? rig.to_device(planes.lo2_codes) : at::Tensor()};
      parameters.push_back(std::move(p));
      WeightId id = -1;
      require_ok(rig.backend.prepare(parameters.back(), id),
                 fmt::format("prepare of {} tied planes [{}, {}]", count, size.n, size.k));
      at::Tensor got;
      require_ok(rig.backend.dequantized(id, got), "dequantized");
      require(got.defined() && got.scalar_type() == at.dtype, "dequantized gave " + describe(got));
      const at::Tensor hi = decode(planes, size.k), sum = decode_tied(planes, size.k, count);
      const bool alone = at::equal(got.to(at::kCPU), hi.to(at.dtype)) && !at::equal(hi, sum);
      if (!alone) require_codec(got, sum);
      sums += alone ? 0 : 1;
      const at::Tensor weight = to_fp64(got);
      for (const std::int64_t rows : {1, 40}) {
        const at::Tensor x = rig.input(rows, size.k);
        require_product(
            rig.forward(id, x, Pass::eval), to_fp64(x), weight.t(), rig.bound,
            fmt::format("forward of {} with {} tied planes [{}, {}]", describe(x), count, size.n, size.k),
            worst);
      }
      ++checked;
    }
  }
  require(sums == 0 || sums == checked, "some weights are the sum of their planes, others hi alone");
  return {fmt::format("{} matrices, {}; products at {:.2g} of the bound", checked,
                      sums == 0 ? "the hi plane alone" : "the sum of their planes", worst.ratio),
          {{"matrices", checked}, {"worst_of_bound", worst.ratio}},
          {}};
}

// Whether the run trains is about storage alone.
Result check_sampling_only(const Target& target, LinearPoint at) {
  if (!target.contract.deterministic.value_or(false)) throw Skip("numerics.deterministic is false");
  LinearRig trained(target, at.path, at.dtype), sampled(target, at.path, at.dtype);
  sampled.setup.trainable = false;
  trained.configure();
  sampled.configure();
  struct Named {
    const char* name;
    std::int64_t n, k;
  };
  int packed = 0;
  for (const Named& one : {Named{"model.layers.0.mlp.up_proj.weight", 48, 128}, {"lm_head.weight", 70, 33}}) {
    const at::Tensor dense = awkward_weight(one.n, one.k, at.dtype);
    const WeightId a = trained.add(dense.clone(), one.name), b = sampled.add(dense.clone(), one.name);
    packed += sampled.parameter(b).dense.defined() ? 0 : 1;
    const auto same = [&](const at::Tensor& got, const at::Tensor& expected, const char* what) {
      require_equal(got, expected, fmt::format("{} where nothing is trained", what));
    };
    for (const std::int64_t rows : {1, 5, 40}) {
      const at::Tensor x = trained.input(rows, one.k), dy = trained.input(rows, one.n);
      for (const Pass pass : {Pass::train, Pass::eval})
        same(sampled.forward(b, x, pass), trained.forward(a, x, pass), "forward");
      same(sampled.grad_input(b, dy), trained.grad_input(a, dy), "grad_input");
      same(sampled.grad_weight(b, dy, x), trained.grad_weight(a, dy, x), "grad_weight");
    }
    same(sampled.gather(b, at::arange(9)), trained.gather(a, at::arange(9)), "gather");
    same(sampled.dequantized(b), trained.dequantized(a), "dequantized");
  }
  return {packed > 0 ? "dense values are replaced by packed ones, results are the same bits"
                     : "results are the same bits",
          {},
          {}};
}

Result check_parameter_kept(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  const at::Tensor dense = awkward_weight(32, 64, at.dtype);
  const WeightId id = rig.add(dense.clone(), "model.layers.7.mlp.up_proj.weight");
  const Parameter& p = rig.parameter(id);
  const auto same_identity = [&] {
    require(p.name == "model.layers.7.mlp.up_proj.weight" && p.version == 0 &&
                p.shape == std::vector<std::int64_t>({32, 64}) && p.gradient_contributions == 1,
            "the backend changed the parameter's name, shape, version or contributions");
  };
  same_identity();
  const bool replaced = !p.dense.defined();
  if (at.path == Path::training) {
    require(!replaced, "prepare dropped the parameter's dense values on the training path");
    require_equal(p.dense, rig.to_device(dense), "prepare on the training path: the parameter's values");
  } else if (replaced) {
    require(p.format != Format::fp32 && p.format != Format::bf16 && p.format != Format::fp16,
            "prepare dropped the parameter's dense values, but left its format");
    if (p.format == Format::nvfp4_hi)
      require(p.planes.codes.defined() && p.planes.scales.defined(),
              "prepare set the format to nvfp4_hi, but gave no codes and scales");
  }
  const at::Tensor x = rig.input(5, 64), dy = rig.input(5, 32);
  const at::Tensor x_before = x.clone(), dy_before = dy.clone();
  for (const Pass pass : rig.passes()) rig.forward(id, x, pass);
  rig.gather(id, at::arange(4));
  if (at.path == Path::training) {
    rig.grad_input(id, dy);
    rig.grad_weight(id, dy, x);
    require_equal(p.dense, rig.to_device(dense), "products on the training path: the parameter's values");
  }
  require_equal(x, x_before, "products: x afterwards");
  require_equal(dy, dy_before, "products: dy afterwards");
  same_identity();
  return {replaced ? "its dense values were replaced by packed ones" : "left alone", {}, {}};
}

}  // namespace tetrad::check
