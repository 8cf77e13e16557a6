#include "nvfp4/cuda/packed_linear_launch.cuh"

namespace tetrad::nvfp4::cuda {

template void packed_linear<Bf16>(const Bf16*, int, std::int64_t, std::int64_t, std::span<const PackedLinear>,
                                  PackedEpilogue, bool, Stream);
template void packed_linear_planned<Bf16>(const PackedPlan&, const Bf16*, int, std::int64_t, std::int64_t,
                                          std::span<const PackedLinear>, PackedEpilogue, bool, Stream);

}  // namespace tetrad::nvfp4::cuda
