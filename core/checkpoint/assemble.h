// From stored tensors to weights: finds the parts of each plane by their names and checks them against each
// other. One function, apart from where the tensors come from.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/quantization.h"
#include "checkpoint/tensor.h"
#include "io/safetensors.h"

namespace tetrad::checkpoint {

struct Assembled {
  std::vector<Tensor> tensors;  // views into the stored ones
  std::map<std::string, std::vector<const io::TensorView*>, std::less<>> parts;
};

// Notes what is not used in `quantization.notes`. Throws Error "[checkpoint] WHERE: ..." listing every
// complaint.
Assembled assemble(std::span<const io::TensorView* const> stored, Quantization& quantization,
                   const std::string& where);

}  // namespace tetrad::checkpoint
