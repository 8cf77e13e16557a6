// Links the installed codec and libtorch the way a plugin does; only that it builds matters.
#include <ATen/core/Tensor.h>
#include <tetrad/nvfp4/codec.h>

__attribute__((visibility("default"))) void decode(const std::uint8_t* codes, const std::uint8_t* scales,
                                                   at::Tensor& out) {
  tetrad::nvfp4::dequantize(codes, scales, 1.0f, out.size(0), out.size(1), out.data_ptr<float>());
}
