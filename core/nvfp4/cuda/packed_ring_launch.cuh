// The launch of packed_ring.cuh.
#pragma once

#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <string>

#include "nvfp4/cuda/packed_plan.h"
#include "nvfp4/cuda/packed_ring.cuh"

namespace tetrad::nvfp4::cuda {

template <class T, int kBatches, bool kBulk>
void start_ring(const PackedRingArgs& args, int blocks, Stream stream) {
  const auto kernel = packed_ring_kernel<T, kBatches, kBulk>;
  cudaError_t status =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, args.layout.bytes);
  if (status == cudaSuccess) {
    launch_early(kernel, static_cast<unsigned>(blocks),
                 static_cast<unsigned>(args.groups * args.shape.warps + 2) * 32,
                 static_cast<std::size_t>(args.layout.bytes), stream, args);
    status = cudaGetLastError();
  }
  if (status != cudaSuccess)
    throw Error(std::string("[nvfp4] packed product: the device refused the kernel: ") +
                cudaGetErrorString(status));
}

// args.linear is complete but for `first`.
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
  args.layout = ring_layout(plan, args.shape, linear.m, std::min(plan.shared, device_limits().shared));
  args.groups = plan.groups;
  while (args.groups > 1 && args.groups * args.shape.warps > ring_max_warps(linear.m)) args.groups /= 2;
  const int blocks = std::min(device_limits().processors * plan.blocks, (args.rows + 3) / 4);
  const bool bulk = plan.bulk && device_limits().bulk;
  if (linear.m <= 8)
    bulk ? start_ring<T, 1, true>(args, blocks, stream) : start_ring<T, 1, false>(args, blocks, stream);
  else
    bulk ? start_ring<T, 2, true>(args, blocks, stream) : start_ring<T, 2, false>(args, blocks, stream);
}

}  // namespace tetrad::nvfp4::cuda
