#include "train/sink/gradient_codec.h"

#include "device/cuda_ops.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/codec.h>

#include <algorithm>
#include <mutex>
#include <utility>

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

struct Room {
  std::int64_t rows = 0, cols = 0;
  Gradient gradient;  // planes not yet filled
};

Room room_for(const at::Tensor& dw) {
  Room room;
  room.cols = dw.size(-1);
  room.rows = dw.numel() / std::max<std::int64_t>(room.cols, 1);
  const auto bytes = dw.options().dtype(at::kByte);
  room.gradient.planes.codes = at::empty({room.rows, packed_cols(room.cols) / 2}, bytes);
  room.gradient.planes.scales = at::empty({room.rows, packed_cols(room.cols) / kBlock}, bytes);
  return room;
}

device::CudaOps& cuda_half() {
  if (device::cuda_ops() == nullptr) throw Error("[train] a gradient on CUDA without Tetrad's CUDA half");
  return *device::cuda_ops();
}

}  // namespace

QuantisedGradient quantised_with_norm(const at::Tensor& dw) {
  if (!dw.is_cuda()) return {quantised(dw), at::linalg_vector_norm(dw, 2, {}, false, at::kFloat)};
  auto [rows, cols, gradient] = room_for(dw);
  device::CudaTrainOps::Stored stored = cuda_half().training().measure_and_quantize(
      dw.view({rows, cols}), gradient.planes.codes, gradient.planes.scales);
  gradient.decode_scale = std::move(stored.decode_scale);
  return {std::move(gradient), std::move(stored.norm)};
}

Gradient quantised(const at::Tensor& dw) {
  auto [rows, cols, gradient] = room_for(dw);
  Planes& planes = gradient.planes;
  if (dw.is_cuda()) {
    gradient.decode_scale = cuda_half().quantize_nvfp4(dw.view({rows, cols}), planes.codes, planes.scales);
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
