#include "nvfp4/cuda/packed_linear_launch.cuh"

namespace tetrad::nvfp4::cuda {

template void packed_linear<Fp16>(const Fp16*, int, std::int64_t, std::int64_t, std::span<const PackedLinear>,
                                  PackedEpilogue, bool, Stream);
template void packed_linear_planned<Fp16>(const PackedPlan&, const Fp16*, int, std::int64_t, std::int64_t,
                                          std::span<const PackedLinear>, PackedEpilogue, bool, Stream);

}  // namespace tetrad::nvfp4::cuda
