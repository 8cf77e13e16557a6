#include "tensor_codec.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>
#include <c10/core/ScalarType.h>
#include <tetrad/base/status.h>
#include <tetrad/nvfp4/reference.h>
#include <tetrad/nvfp4/scale_layout.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "typed.h"

#ifndef _OPENMP
#error "at::parallel_for without -fopenmp runs on one thread, silently"
#endif

namespace tetrad::backend_nvfp4 {
namespace {

using nvfp4::kBlock;
using nvfp4::packed_cols;

// Rows per task: about 32 Ki elements, enough to pay for handing it to another thread.
std::int64_t grain(std::int64_t cols) {
  return std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(cols, 1));
}

}  // namespace

TensorCodec::TensorCodec(const nvfp4::EncodeOptions& encode, bool reference, at::Device device)
    : encode_(encode), reference_(reference) {
  if (device.is_cpu()) return;
  kernels_ = device_kernels();
  if (kernels_ == nullptr) aten_.emplace(device);
}

nvfp4::Amax TensorCodec::amax(const at::Tensor& w) const {
  if (!w.device().is_cpu()) return aten_amax(w);
  const std::int64_t rows = w.size(0), cols = w.size(1);
  nvfp4::Amax total;
  std::mutex lock;
  with_type(w.scalar_type(), [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T* x = read_as<T>(w);
    at::parallel_for(0, rows, grain(cols), [&](std::int64_t begin, std::int64_t end) {
      const auto part = reference_ ? nvfp4::reference::amax(x + begin * cols, end - begin, cols, cols)
                                   : nvfp4::amax(x + begin * cols, end - begin, cols, cols);
      const std::lock_guard<std::mutex> hold(lock);
      total.value = std::max(total.value, part.value);
      if (part.first_bad >= 0) {
        const std::int64_t bad = begin * cols + part.first_bad;
        total.first_bad = total.first_bad < 0 ? bad : std::min(total.first_bad, bad);
      }
    });
  });
  return total;
}

void TensorCodec::quantize(const at::Tensor& w, nvfp4::GlobalScale global, const at::Tensor& codes,
                           const at::Tensor& scales) const {
  if (!w.device().is_cpu()) {
    if (kernels_ != nullptr)
      kernels_->quantize(w, global, encode_, codes, scales);
    else
      aten_->quantize(w, global, codes, scales);
    return;
  }
  const std::int64_t rows = w.size(0), cols = w.size(1), padded = packed_cols(cols);
  with_type(w.scalar_type(), [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const T* x = read_as<T>(w);
    auto* to_codes = write_as<std::uint8_t>(codes);
    auto* to_scales = write_as<std::uint8_t>(scales);
    at::parallel_for(0, rows, grain(cols), [&](std::int64_t begin, std::int64_t end) {
      const auto to_packed = reference_ ? nvfp4::reference::quantize<T> : nvfp4::quantize<T>;
      to_packed(x + begin * cols, end - begin, cols, cols, global, encode_, to_codes + begin * (padded / 2),
                to_scales + begin * (padded / kBlock));
    });
  });
}

void TensorCodec::dequantize(const PlaneTensors& planes, float scale, const at::Tensor& out) const {
  if (!out.device().is_cpu()) {
    if (kernels_ != nullptr)
      kernels_->dequantize(planes, scale, out);
    else
      aten_->dequantize(planes, scale, out);
    return;
  }
  const std::int64_t rows = out.size(0), cols = out.size(1), padded = packed_cols(cols);
  with_type(out.scalar_type(), [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    const nvfp4::PlanesView whole = planes.view();
    T* to = write_as<T>(out);
    at::parallel_for(0, rows, grain(cols), [&](std::int64_t begin, std::int64_t end) {
      const auto from_planes =
          reference_ ? nvfp4::reference::dequantize_planes<T> : nvfp4::dequantize_planes<T>;
      nvfp4::PlanesView part = whole;
      part.codes += begin * (padded / 2);
      part.scales += begin * (padded / kBlock);
      if (part.lo != nullptr) part.lo += begin * (padded / 2);
      if (part.lo2 != nullptr) part.lo2 += begin * (padded / 2);
      from_planes(part, scale, nvfp4::PlaneValue::exact, end - begin, cols, to + begin * cols);
    });
  });
}

void TensorCodec::gather(const PlaneTensors& planes, const at::Tensor& ids, float scale,
                         const at::Tensor& out) const {
  if (kernels_ != nullptr) {
    kernels_->gather(planes, ids, scale, out);
    return;
  }
  if (aten_ || reference_) {
    const auto pick = [&](const at::Tensor& t) {
      return t.defined() ? at::index_select(t, 0, ids) : at::Tensor();
    };
    dequantize({pick(planes.codes), pick(planes.scales), pick(planes.lo), pick(planes.lo2)}, scale, out);
    return;
  }
  const at::Tensor wanted = ids.to(at::kLong).contiguous();
  with_type(out.scalar_type(), [&](auto* tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    nvfp4::gather_planes(planes.view(), scale, nvfp4::PlaneValue::exact, planes.codes.size(0), out.size(1),
                         read_as<std::int64_t>(wanted), wanted.numel(), write_as<T>(out));
  });
}

void TensorCodec::requantize(const at::Tensor& w, nvfp4::GlobalScale global, float scale,
                             const at::Tensor& out) const {
  if (!w.device().is_cpu()) {
    if (kernels_ != nullptr)
      kernels_->requantize(w, global, scale, out);
    else
      aten_->requantize(w, global, scale, out);
    return;
  }
  const std::int64_t rows = w.size(0), cols = w.size(1), padded = packed_cols(cols);
  with_type(w.scalar_type(), [&](auto* from) {
    using In = std::remove_pointer_t<decltype(from)>;
    with_type(out.scalar_type(), [&](auto* to) {
      using Out = std::remove_pointer_t<decltype(to)>;
      const In* x = read_as<In>(w);
      Out* y = write_as<Out>(out);
      const auto to_packed = reference_ ? nvfp4::reference::quantize<In> : nvfp4::quantize<In>;
      const auto from_packed = reference_ ? nvfp4::reference::dequantize<Out> : nvfp4::dequantize<Out>;
      // A strip of rows whose codes stay in the first-level cache.
      const std::int64_t strip = std::max<std::int64_t>(1, 8192 / std::max<std::int64_t>(cols, 1));
      at::parallel_for(0, rows, grain(cols), [&](std::int64_t begin, std::int64_t end) {
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(strip * (padded / 2)));
        std::vector<std::uint8_t> scales(static_cast<std::size_t>(strip * (padded / kBlock)));
        for (std::int64_t r = begin; r < end; r += strip) {
          const std::int64_t n = std::min(strip, end - r);
          to_packed(x + r * cols, n, cols, cols, global, encode_, codes.data(), scales.data());
          from_packed(codes.data(), scales.data(), scale, n, cols, y + r * cols);
        }
      });
    });
  });
}

at::Tensor TensorCodec::activations(const at::Tensor& x) const {
  const at::Tensor from = x.contiguous(), out = at::empty_like(from);
  if (kernels_ != nullptr) {
    kernels_->requantize_activations(from, out);
  } else {
    const TensorCodec own({}, reference_, at::kCPU);
    const nvfp4::GlobalScale global = nvfp4::power_of_two_scale(own.amax(from).value);
    own.requantize(from, global, global.decode, out);
  }
  return out;
}

PackedActivations TensorCodec::packed_activations(const at::Tensor& x) const {
  const at::Tensor from = x.contiguous();
  const std::int64_t padded = packed_cols(x.size(1));
  const auto options = at::TensorOptions().dtype(at::kByte).device(x.device());
  PackedActivations packed;
  packed.codes = at::empty({x.size(0), padded / 2}, options);
  packed.scales = at::empty({x.size(0), padded / kBlock}, options);
  if (kernels_ != nullptr) {
    packed.decode = kernels_->quantize_activations(from, packed.codes, packed.scales);
  } else {
    const TensorCodec own({}, reference_, at::kCPU);
    const nvfp4::GlobalScale global = nvfp4::power_of_two_scale(own.amax(from).value);
    own.quantize(from, global, packed.codes, packed.scales);
    packed.decode = at::full({1}, global.decode, options.dtype(at::kFloat));
  }
  return packed;
}

at::Tensor TensorCodec::swizzle(const at::Tensor& scales) const {
  const at::Tensor out = at::empty({nvfp4::swizzled_size(scales.size(0), scales.size(1))}, scales.options());
  if (kernels_ != nullptr)
    kernels_->swizzle(scales, out);
  else
    nvfp4::swizzle_scales(read_as<std::uint8_t>(scales), scales.size(0), scales.size(1),
                          write_as<std::uint8_t>(out));
  return out;
}

int threads_seen() {
  std::set<std::thread::id> ids;
  std::mutex lock;
  at::parallel_for(0, 64, 1, [&](std::int64_t, std::int64_t) {
    const std::lock_guard<std::mutex> hold(lock);
    ids.insert(std::this_thread::get_id());
  });
  return static_cast<int>(ids.size());
}

}  // namespace tetrad::backend_nvfp4
