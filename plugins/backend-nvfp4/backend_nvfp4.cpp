#include "backend_nvfp4.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/max.h>
#include <tetrad/torch/guarded.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "common.h"
#include "device_kernels.h"

namespace tetrad::backend_nvfp4 {
namespace {

using nvfp4::kBlock;
using nvfp4::packed_cols;

bool is_float(at::ScalarType t) {
  return t == at::kFloat || t == at::kBFloat16 || t == at::kHalf;
}

// The tensor that turns hidden states into logits: lm_head, or an embedding that is used twice.
bool is_head(const Parameter& p) {
  return p.name == "lm_head.weight" || (p.role == Role::embedding && p.gradient_contributions > 1);
}

}  // namespace

Capability BackendNvfp4::capability(const LinearSetup& setup) const noexcept {
  try {
    const auto no = [](std::string why) { return Capability{Support::unsupported, "", std::move(why)}; };
    const std::string device = setup.device.str();
    if (!setup.device.is_cpu() && !setup.device.is_cuda())
      return no("no products on " + device + "; use cpu or cuda");
    if (!is_float(setup.dtype))
      return no(std::string("no products in ") + c10::toString(setup.dtype) +
                "; use model.dtype: bfloat16, float16 or float32");
    if (setup.path == Path::bridge && options_.residency == Residency::dense)
      return no("residency: dense keeps dense weights, and the bridge path has none; use residency: auto");
    if (setup.path == Path::training && setup.trainable && options_.residency == Residency::planes)
      return no("residency: planes keeps no dense weight to train, and this run trains; use residency: auto");
    const std::string held = setup.path == Path::bridge || setup.trainable ? ""
                             : holds_planes(setup) ? "; dense weights become NVFP4 planes on loading"
                                                   : "; dense weights are held as they are";
    if (options_.quantise_activations && setup.dtype == at::kHalf)
      return no("activations: nvfp4 in float16 would round twice; use model.dtype: bfloat16 or float32");
    if (options_.compute == Compute::native) {
      if (const std::string why = why_not_native(setup.device); !why.empty()) return no(why);
      return {Support::native, "native-w4a4", "FP4 tensor cores: weights and activations in NVFP4" + held};
    }
    if (setup.device.is_cuda()) {
      if (options_.compute == Compute::reference)
        return no("compute: reference runs on the CPU, and this is " + device + "; use compute: auto");
      if (options_.encode.profile != nvfp4::Profile::te)
        return no(std::string("profile: ") + profile_name(options_.encode.profile) +
                  " is encoded on the CPU alone, and this is " + device + "; use profile: te");
      if (options_.quantise_activations && device_kernels() == nullptr)
        return no("activations: nvfp4 on " + device + " needs backend-nvfp4.cuda.so, which is not there");
      return {Support::emulated, emulated(),
              (device_kernels() != nullptr
                   ? "NVFP4 weights in CUDA kernels: packed products for up to 16 rows, decoded strips and "
                     "dense products for more"
                   : "NVFP4 weights dequantised strip by strip with libtorch operations, dense products; "
                     "backend-nvfp4.cuda.so is not there") +
                  held};
    }
    if (options_.compute == Compute::reference)
      return {Support::emulated, "reference", "the plain NVFP4 codec and float32 products on the CPU" + held};
    return {
        Support::emulated, emulated(),
        (options_.quantise_activations ? "NVFP4 weights and activations, SIMD codec on the CPU"
                                       : "NVFP4 weights, activations unquantised, SIMD codec on the CPU") +
            held};
  } catch (...) {
    return {};
  }
}

const char* BackendNvfp4::emulated() const noexcept {
  return options_.quantise_activations ? "emulated-w4a4" : "emulated-w4a16";
}

std::string BackendNvfp4::why_not_native(at::Device device) const {
  std::string why;
  if (fp4_is_given_)
    why = "";
  else if (device.is_cpu())
    why = "this is a CPU";
  else if (device_kernels() == nullptr)
    why = "backend-nvfp4.cuda.so is not there";
  else
    why = device_kernels()->why_no_fp4(device);
  if (!why.empty())
    return "compute: native needs the FP4 tensor cores of sm_100 and newer, and " + why +
           "; use compute: auto";
  if (options_.quantise_activations) return "";
  return "compute: native multiplies 4-bit activations, which is other numerics than this run asks for; set "
         "activations: nvfp4, or compute: auto";
}

Status BackendNvfp4::configure(const LinearSetup& setup) noexcept {
  return torch_guarded([&] {
    if (codec_) fail(StatusCode::internal, "configure: called twice");
    const Capability can = capability(setup);
    if (can.support == Support::unsupported) fail(StatusCode::unsupported, can.reason);
    codec_.emplace(options_.encode, options_.compute == Compute::reference, setup.device);
    setup_ = setup;
  });
}

bool BackendNvfp4::holds_planes(const LinearSetup& setup) const noexcept {
  if (setup.path == Path::bridge) return true;
  return !setup.trainable && options_.residency != Residency::dense;
}

bool BackendNvfp4::packs(const Parameter& p) const {
  if (p.keep_dense) return false;
  if (is_head(p)) return options_.pack_head;
  return p.role == Role::embedding ? options_.pack_embedding : true;
}

void BackendNvfp4::check_dense(const Parameter& p) const {
  const at::Tensor& t = p.dense;
  if (!t.defined() || t.sizes() != at::IntArrayRef(p.shape) || !is_float(t.scalar_type()) ||
      !t.is_contiguous() || !same_device(t.device(), setup_.device))
    fail(StatusCode::unsupported,
         "'" + p.name + "' must be a contiguous float32, bfloat16 or float16 tensor " + shape_text(p.shape) +
             " on " + setup_.device.str() + ", it is " + tensor_text(t));
}

void BackendNvfp4::check_planes(const Parameter& p) const {
  const auto check = [&](const char* what, const at::Tensor& t, std::int64_t columns) {
    if (t.defined() && t.scalar_type() == at::kByte && t.sizes() == at::IntArrayRef({p.shape[0], columns}) &&
        t.is_contiguous() && same_device(t.device(), setup_.device))
      return;
    fail(StatusCode::unsupported, std::string(what) + " of '" + p.name + "' must be contiguous bytes " +
                                      shape_text({p.shape[0], columns}) + " on " + setup_.device.str() +
                                      ", they are " + tensor_text(t));
  };
  const std::int64_t padded = packed_cols(p.shape[1]);
  check("codes", p.planes.codes, padded / 2);
  check("block scales", p.planes.scales, padded / kBlock);
  if (p.format != Format::nvfp4_hi) check("lo codes", p.planes.lo_codes, padded / 2);
  if (p.format == Format::nvfp4_hi_lo_lo2) check("lo2 codes", p.planes.lo2_codes, padded / 2);
  if (!std::isfinite(p.planes.decode_scale))
    fail(StatusCode::numerics, "the global scale of '" + p.name + "' is not finite");
  // Block scales are 0 .. 448 (codes 0 .. 0x7E); 0x7F is NaN, the mark of a block that met a non-finite
  // value.
  if (p.planes.scales.numel() == 0) return;
  const int worst = at::max(p.planes.scales).item().toInt();
  if (worst == nvfp4::kE4m3Nan)
    fail(StatusCode::numerics,
         "a block scale of '" + p.name + "' is NaN: it was packed from a value that is not finite");
  if (worst > nvfp4::kE4m3Nan)
    fail(StatusCode::numerics,
         "a block scale of '" + p.name + "' is negative; is this really an NVFP4 weight?");
}

int BackendNvfp4::residuals(const Parameter& p) const {
  if (!options_.forward_lo) return 0;
  return p.format == Format::nvfp4_hi_lo ? 1 : (p.format == Format::nvfp4_hi_lo_lo2 ? 2 : 0);
}

PlaneTensors BackendNvfp4::planes_of(const Parameter& p) const {
  PlaneTensors planes{p.planes.codes, p.planes.scales, {}, {}};
  if (residuals(p) > 0) planes.lo = p.planes.lo_codes;
  if (residuals(p) > 1) planes.lo2 = p.planes.lo2_codes;
  return planes;
}

bool BackendNvfp4::folds_in(const Parameter& p, float scale) const {
  return folds(scale, setup_.dtype, residuals(p));
}

nvfp4::GlobalScale BackendNvfp4::global_of(Weight& w) const {
  const Parameter& p = *w.parameter;
  if (w.scaled_at == p.version) return w.global;
  check_dense(p);
  const nvfp4::Amax amax = codec_->amax(p.dense);
  if (amax.first_bad >= 0) {
    std::string where;
    if (setup_.device.is_cpu())
      where = " at row " + std::to_string(amax.first_bad / p.shape[1]) + ", column " +
              std::to_string(amax.first_bad % p.shape[1]);
    fail(StatusCode::numerics, "'" + p.name + "' has a value that is not finite" + where +
                                   "; NVFP4 cannot hold it, look for the step or the file it came from");
  }
  w.global = nvfp4::global_scale(amax.value, options_.encode);
  w.scaled_at = p.version;
  return w.global;
}

float BackendNvfp4::decode_scale(Weight& w) const {
  return w.source == Source::planes ? w.parameter->planes.decode_scale : global_of(w).decode;
}

void BackendNvfp4::pack(Parameter& p, nvfp4::GlobalScale global) const {
  const std::int64_t rows = p.shape[0], cols = p.shape[1], padded = packed_cols(cols);
  const auto bytes = at::TensorOptions().dtype(at::kByte).device(p.dense.device());
  Planes planes;
  planes.codes = at::empty({rows, padded / 2}, bytes);
  planes.scales = at::empty({rows, padded / kBlock}, bytes);
  planes.decode_scale = global.decode;
  const std::int64_t step = strip_rows(cols);
  for (std::int64_t r = 0; r < rows; r += step) {
    const std::int64_t n = std::min(step, rows - r);
    codec_->quantize(p.dense.narrow(0, r, n), global, planes.codes.narrow(0, r, n),
                     planes.scales.narrow(0, r, n));
  }
  p.planes = std::move(planes);
  p.dense = at::Tensor();
  p.format = Format::nvfp4_hi;
}

Status BackendNvfp4::prepare(Parameter& parameter, WeightId& weight) noexcept {
  return torch_guarded([&] {
    if (!codec_) fail(StatusCode::internal, "prepare: called before configure");
    Parameter& p = parameter;
    if (p.shape.size() != 2)
      fail(StatusCode::unsupported, "'" + p.name + "' is not a matrix: its shape is " + shape_text(p.shape));
    if (options_.compute == Compute::native && residuals(p) > 0)
      fail(StatusCode::unsupported, "'" + p.name +
                                        "' has residual planes, and an FP4 product reads one plane; use "
                                        "forward: hi, or compute: auto");
    Weight w;
    w.parameter = &p;
    switch (p.format) {
      case Format::nvfp4_hi:
      case Format::nvfp4_hi_lo:
      case Format::nvfp4_hi_lo_lo2:
        check_planes(p);
        w.source = Source::planes;
        break;
      case Format::opaque:
        fail(StatusCode::unsupported, "'" + p.name +
                                          "' is stored in another backend's own layout; convert it to bf16 "
                                          "or to NVFP4 planes");
      case Format::fp32:
      case Format::bf16:
      case Format::fp16:
        check_dense(p);
        if (!packs(p)) {
          if (p.dense.scalar_type() != setup_.dtype)
            fail(StatusCode::unsupported, "'" + p.name + "' stays dense and is " +
                                              c10::toString(p.dense.scalar_type()) +
                                              ", but the run computes in " + c10::toString(setup_.dtype) +
                                              "; convert it before prepare");
          break;
        }
        w.source = Source::quantise;
        const nvfp4::GlobalScale global = global_of(w);
        if (holds_planes()) {
          pack(p, global);
          w.source = Source::planes;
        }
        break;
    }
    weights_.push_back(std::move(w));
    weight = static_cast<WeightId>(weights_.size() - 1);
    ++epoch_;
  });
}

BackendNvfp4::Weight& BackendNvfp4::at_id(WeightId weight) {
  if (weight < 0 || static_cast<std::size_t>(weight) >= weights_.size())
    fail(StatusCode::internal, "weight id " + std::to_string(weight) + " was never prepared");
  return weights_[static_cast<std::size_t>(weight)];
}

std::int64_t BackendNvfp4::operand_bytes(const Weight& w) {
  const at::Tensor& planes = w.parameter->planes.codes;
  const bool shared = planes.defined() && planes.const_data_ptr() == w.operand.codes.const_data_ptr();
  return w.operand.bytes() - (shared ? static_cast<std::int64_t>(planes.nbytes()) : 0);
}

std::int64_t BackendNvfp4::clear_eval_cache() noexcept {
  std::int64_t freed = 0;
  for (Weight& w : weights_) {
    forget_recent(w);
    if (setup_.path == Path::training && w.operand_at) {
      freed += operand_bytes(w);
      w.operand = {};
      w.operand_at.reset();
    }
    if (!w.cache.defined()) continue;
    freed += static_cast<std::int64_t>(w.cache.nbytes());
    w.cache = at::Tensor();
    w.cached_at.reset();
  }
  if (freed > 0) ++epoch_;
  return freed;
}

LinearMemory BackendNvfp4::memory() const noexcept {
  LinearMemory memory;
  for (const Weight& w : weights_) {
    if (w.operand_at)
      (setup_.path == Path::training ? memory.eval_cache_bytes : memory.weight_bytes) += operand_bytes(w);
    if (w.cache.defined()) memory.eval_cache_bytes += static_cast<std::int64_t>(w.cache.nbytes());
  }
  if (workspace_.defined()) memory.workspace_bytes = static_cast<std::int64_t>(workspace_.nbytes());
  memory.workspace_bytes += recent_bytes_;
  return memory;
}

std::uint64_t BackendNvfp4::weight_epoch() const noexcept {
  for (const Weight& w : weights_) {
    const auto address = [](const at::Tensor& t) { return t.defined() ? t.const_data_ptr() : nullptr; };
    const Parameter& p = *w.parameter;
    std::array<const void*, 4> now{address(p.dense)};
    if (w.source == Source::planes)
      now = {address(p.planes.codes), address(p.planes.scales), address(p.planes.lo_codes),
             address(p.planes.lo2_codes)};
    if (now == w.seen) continue;
    w.seen = now;
    ++epoch_;
  }
  return epoch_;
}

}  // namespace tetrad::backend_nvfp4
