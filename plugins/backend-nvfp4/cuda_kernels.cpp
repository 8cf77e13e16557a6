// device_kernels() of backend-nvfp4.cuda.so.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <tetrad/nvfp4/cuda/operand_codec.h>
#include <tetrad/nvfp4/cuda/packed_linear.h>
#include <tetrad/nvfp4/cuda/planes.h>

#include <algorithm>
#include <string>
#include <type_traits>

#include "common.h"
#include "device_kernels.h"
#include "typed.h"

namespace tetrad::backend_nvfp4 {
namespace {

using nvfp4::Bf16;
using nvfp4::Fp16;

cudaStream_t stream_of(const at::Tensor& t) {
  return c10::cuda::getCurrentCUDAStream(t.device().index()).stream();
}

// The GlobalScale of x's own amax, on x's device: fp32 [2], encode and decode.
template <class T>
at::Tensor activation_scale(const at::Tensor& x) {
  static_assert(sizeof(nvfp4::GlobalScale) == 2 * sizeof(float));
  const at::Tensor amax = at::zeros({1}, x.options().dtype(at::kInt));
  const at::Tensor global = at::empty({2}, x.options().dtype(at::kFloat));
  auto* bits = write_as<std::uint32_t>(amax);
  nvfp4::cuda::amax(read_as<T>(x), x.size(0), x.size(1), x.size(1), bits, stream_of(x));
  nvfp4::cuda::global_scale(bits, nvfp4::EncodeOptions{}, write_as<nvfp4::GlobalScale>(global), stream_of(x));
  return global;
}

class CudaKernels final : public DeviceKernels {
 public:
  void quantize(const at::Tensor& w, nvfp4::GlobalScale global, const nvfp4::EncodeOptions& encode,
                const at::Tensor& codes, const at::Tensor& scales) const override {
    const c10::cuda::CUDAGuard on(w.device());
    with_type(w.scalar_type(), [&](auto* tag) {
      using T = std::remove_pointer_t<decltype(tag)>;
      nvfp4::cuda::quantize(read_as<T>(w), w.size(0), w.size(1), w.size(1), global, encode,
                            write_as<std::uint8_t>(codes), write_as<std::uint8_t>(scales), {}, stream_of(w));
    });
  }

  void dequantize(const PlaneTensors& planes, float scale, const at::Tensor& out) const override {
    const c10::cuda::CUDAGuard on(out.device());
    with_type(out.scalar_type(), [&](auto* tag) {
      using T = std::remove_pointer_t<decltype(tag)>;
      nvfp4::cuda::dequantize_planes(planes.view(), scale, nvfp4::PlaneValue::exact, out.size(0), out.size(1),
                                     write_as<T>(out), stream_of(out));
    });
  }

  void gather(const PlaneTensors& planes, const at::Tensor& ids, float scale,
              const at::Tensor& out) const override {
    const c10::cuda::CUDAGuard on(out.device());
    const at::Tensor wanted = ids.to(at::kLong).contiguous();
    with_type(out.scalar_type(), [&](auto* tag) {
      using T = std::remove_pointer_t<decltype(tag)>;
      nvfp4::cuda::gather_planes(planes.view(), scale, nvfp4::PlaneValue::exact, planes.codes.size(0),
                                 out.size(1), read_as<std::int64_t>(wanted), wanted.numel(), write_as<T>(out),
                                 stream_of(out));
    });
  }

  void requantize(const at::Tensor& w, nvfp4::GlobalScale global, float scale,
                  const at::Tensor& out) const override {
    const c10::cuda::CUDAGuard on(w.device());
    with_type(w.scalar_type(), [&](auto* from) {
      using In = std::remove_pointer_t<decltype(from)>;
      with_type(out.scalar_type(), [&](auto* to) {
        using Out = std::remove_pointer_t<decltype(to)>;
        nvfp4::cuda::requantize(read_as<In>(w), w.size(0), w.size(1), global, scale, write_as<Out>(out), {},
                                stream_of(w));
      });
    });
  }

  void requantize_activations(const at::Tensor& x, const at::Tensor& out) const override {
    const c10::cuda::CUDAGuard on(x.device());
    with_type(x.scalar_type(), [&](auto* tag) {
      using T = std::remove_pointer_t<decltype(tag)>;
      const at::Tensor global = activation_scale<T>(x);
      nvfp4::cuda::requantize(read_as<T>(x), x.size(0), x.size(1), read_as<nvfp4::GlobalScale>(global),
                              write_as<T>(out), {}, stream_of(x));
    });
  }

  at::Tensor quantize_activations(const at::Tensor& x, const at::Tensor& codes,
                                  const at::Tensor& scales) const override {
    const c10::cuda::CUDAGuard on(x.device());
    at::Tensor global;
    with_type(x.scalar_type(), [&](auto* tag) {
      using T = std::remove_pointer_t<decltype(tag)>;
      global = activation_scale<T>(x);
      nvfp4::cuda::quantize_operand(read_as<T>(x), x.size(0), x.size(1), x.size(1), nvfp4::Operand{},
                                    read_as<nvfp4::GlobalScale>(global), nvfp4::EncodeOptions{},
                                    write_as<std::uint8_t>(codes), write_as<std::uint8_t>(scales), {},
                                    stream_of(x));
    });
    return global.narrow(0, 1, 1);
  }

  void swizzle(const at::Tensor& scales, const at::Tensor& out) const override {
    const c10::cuda::CUDAGuard on(scales.device());
    nvfp4::cuda::swizzle_scales(read_as<std::uint8_t>(scales), scales.size(0), scales.size(1),
                                write_as<std::uint8_t>(out), stream_of(scales));
  }

  std::string why_no_fp4(at::Device device) const override {
    const int index = device.has_index() ? device.index() : c10::cuda::current_device();
    int major = 0, minor = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index) != cudaSuccess) {
      cudaGetLastError();
      return "the compute capability of " + device.str() + " cannot be read";
    }
    if (major >= 10) return "";
    return device.str() + " has compute capability " + std::to_string(major) + "." + std::to_string(minor) +
           " (sm_" + std::to_string(10 * major + minor) + ")";
  }

  bool takes_packed(std::int64_t rows, at::ScalarType dtype, int residuals) const noexcept override {
    return residuals <= 1 && rows >= 1 && rows <= nvfp4::cuda::kMaxPackedRows &&
           (dtype == at::kBFloat16 || dtype == at::kHalf);
  }

  std::vector<at::Tensor> packed_products(std::span<const PackedWeight> weights,
                                          const at::Tensor& x) const override {
    const c10::cuda::CUDAGuard on(x.device());
    const at::Tensor from = x.stride(1) == 1 ? x : x.contiguous();
    std::vector<at::Tensor> y;
    std::vector<nvfp4::cuda::PackedLinear> group;
    for (const PackedWeight& from_planes : weights) {
      const nvfp4::PlanesView planes = from_planes.planes.view();
      nvfp4::cuda::PackedLinear w;
      w.codes = planes.codes;
      w.scales = planes.scales;
      w.lo_codes = planes.lo;
      w.alpha = from_planes.decode_scale;
      w.rows = from_planes.planes.codes.size(0);
      y.push_back(at::empty({x.size(0), w.rows}, x.options()));
      w.y = y.back().mutable_data_ptr();
      w.y_stride = w.rows;
      group.push_back(w);
    }
    // One launch takes a few weights, all with a lo plane or all without.
    for (std::size_t first = 0, n = 0; first < group.size(); first += n) {
      n = 1;
      while (n < nvfp4::cuda::kMaxPackedGroup && first + n < group.size() &&
             (group[first + n].lo_codes != nullptr) == (group[first].lo_codes != nullptr))
        ++n;
      const std::span<const nvfp4::cuda::PackedLinear> part(group.data() + first, n);
      const auto run = [&](auto* tag) {
        using T = std::remove_pointer_t<decltype(tag)>;
        nvfp4::cuda::packed_linear(read_as<T>(from), static_cast<int>(from.size(0)), from.size(1),
                                   from.stride(0), part, nvfp4::cuda::PackedEpilogue::store, false,
                                   stream_of(x));
      };
      if (x.scalar_type() == at::kBFloat16)
        run(static_cast<Bf16*>(nullptr));
      else
        run(static_cast<Fp16*>(nullptr));
    }
    return y;
  }
};

}  // namespace

const DeviceKernels* device_kernels() noexcept {
  static const CudaKernels kernels;
  return &kernels;
}

}  // namespace tetrad::backend_nvfp4
