#include "train/sink/gradient_codec.h"

#include "device/cuda_ops.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/codec.h>

#include <algorithm>
#include <mutex>

namespace tetrad::train {
namespace {

using nvfp4::kBlock;
using nvfp4::packed_cols;

template <class T>
nvfp4::GlobalScale encode(const at::Tensor& dw, std::int64_t rows, std::int64_t cols, Planes& planes) {
  const T* values = static_cast<const T*>(dw.const_data_ptr());
  const std::int64_t grain = std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(cols, 1));
  float largest = 0.0F;
  std::mutex mutex;
  at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
    const float here = nvfp4::amax(values + begin * cols, end - begin, cols, cols).value;
    const std::lock_guard lock(mutex);
    largest = std::max(largest, here);  // the order does not matter to a maximum
  });
  const nvfp4::EncodeOptions options;
  const nvfp4::GlobalScale global = nvfp4::global_scale(largest, options);
  const std::int64_t padded = packed_cols(cols);
  auto* codes = static_cast<std::uint8_t*>(planes.codes.mutable_data_ptr());
  auto* scales = static_cast<std::uint8_t*>(planes.scales.mutable_data_ptr());
  at::parallel_for(0, rows, grain, [&](std::int64_t begin, std::int64_t end) {
    (void)nvfp4::quantize(values + begin * cols, end - begin, cols, cols, global, options,
                          codes + begin * padded / 2, scales + begin * padded / kBlock);
  });
  return global;
}

}  // namespace

Gradient quantised(const at::Tensor& dw) {
  const std::int64_t cols = dw.size(-1), rows = dw.numel() / std::max<std::int64_t>(cols, 1);
  const auto bytes = dw.options().dtype(at::kByte);
  Gradient gradient;
  Planes& planes = gradient.planes;
  planes.codes = at::empty({rows, packed_cols(cols) / 2}, bytes);
  planes.scales = at::empty({rows, packed_cols(cols) / kBlock}, bytes);
  if (dw.is_cuda()) {
    if (device::cuda_ops() == nullptr) throw Error("[train] a gradient on CUDA without Tetrad's CUDA half");
    gradient.decode_scale =
        device::cuda_ops()->quantize_nvfp4(dw.view({rows, cols}), planes.codes, planes.scales);
    return gradient;
  }
  switch (dw.scalar_type()) {
    case at::kFloat:
      planes.decode_scale = encode<float>(dw, rows, cols, planes).decode;
      break;
    case at::kBFloat16:
      planes.decode_scale = encode<nvfp4::Bf16>(dw, rows, cols, planes).decode;
      break;
    case at::kHalf:
      planes.decode_scale = encode<nvfp4::Fp16>(dw, rows, cols, planes).decode;
      break;
    default:
      throw Error("[train] a gradient is neither fp32, bf16 nor fp16");
  }
  return gradient;
}

}  // namespace tetrad::train
