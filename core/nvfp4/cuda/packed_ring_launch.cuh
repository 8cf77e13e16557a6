// The launch of packed_ring.cuh.
#pragma once

#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <string>

#include "nvfp4/cuda/packed_plan.h"
#include "nvfp4/cuda/packed_ring.cuh"

namespace tetrad::nvfp4::cuda {

template <class T>
void start_ring(const PackedRingArgs& args, int blocks, Stream stream) {
  const auto kernel = packed_ring_kernel<T>;
  cudaError_t status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, args.layout.bytes);
  if (status == cudaSuccess) {
    launch_early(kernel, static_cast<unsigned>(blocks),
                 static_cast<unsigned>(args.layout.groups * args.shape.warps + args.producers + 1) * 32,
                 static_cast<std::size_t>(args.layout.bytes), stream, args);
    status = cudaGetLastError();
  }
  if (status != cudaSuccess)
    throw Error(std::string("[nvfp4] packed product: the device refused the kernel: ") +
                cudaGetErrorString(status));
}

// args.linear is complete but for `first`. More than kRingX rows of x take several launches: the second reads
// most weights from the second-level cache.
template <class T>
void launch_ring(const RingPlan& plan, PackedRingArgs args, Stream stream) {
  PackedLinearArgs& linear = args.linear;
  const bool paired = linear.epilogue == PackedEpilogue::silu_mul;
  if (paired) linear.count = 1;
  for (int i = 0; i < linear.count; ++i) {
    linear.first[i] = args.rows;
    args.rows += static_cast<int>(linear.weight[i].rows);
  }
  args.shape = ring_shape(linear.k, plan.warps);
  args.layout = ring_layout(plan, args.shape, std::min(linear.m, kRingX),
                            std::min(plan.shared, device_limits().shared));
  args.producers = args.shape.slabs == 1 ? 1 : plan.producers;
  const int blocks = std::min(device_limits().processors * plan.blocks, (args.rows + 3) / 4);
  const std::int64_t y_size = linear.float_out ? sizeof(float) : sizeof(T);
  for (int left = linear.m; left > 0; left -= kRingX) {
    linear.m = std::min(left, kRingX);
    start_ring<T>(args, blocks, stream);
    linear.x = static_cast<const T*>(linear.x) + kRingX * linear.x_stride;
    for (PackedLinear& w : linear.weight)
      if (w.y != nullptr) w.y = static_cast<std::uint8_t*>(w.y) + kRingX * w.y_stride * y_size;
  }
}

}  // namespace tetrad::nvfp4::cuda
