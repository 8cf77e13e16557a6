// What a conversion will write, decided before the first byte: for each weight whether it is copied, encoded
// or decoded, the stored tensors that come of it, and the shard that they go to. Everything that can be
// refused from the headers is refused here.
#pragma once

#include <tetrad/nvfp4/profile.h>

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "io/safetensors_writer.h"

namespace tetrad::checkpoint {

enum class Choice : std::uint8_t { automatic, packed, dense };

struct Encoding {
  nvfp4::EncodeOptions options;
  // The head: packed for Tetrad's planes (as the engine packs it), dense for the others, whose readers expect
  // that. A tied embedding counts as head.
  Choice head = Choice::automatic;
  Choice embedding = Choice::dense;  // of a model whose head is its own
  std::vector<std::string> keep;     // names or wildcards of modules that stay dense
};

enum class Step : std::uint8_t {
  copy,    // byte for byte
  narrow,  // dense to BF16
  encode,  // dense to planes
  decode,  // planes to BF16
  planes,  // planes to planes: renamed; the fp32 scale is inverted where the layouts differ in its sense
};

struct Planned {
  const Tensor* source = nullptr;
  Step step = Step::copy;
  std::size_t shard = 0;
  std::string codes, scales, lo_codes, global, input;  // stored names; `codes` also names a dense tensor
  std::vector<io::TensorSpec> stored;
  bool global_divides = false, input_divides = false;
  std::string scale_group;  // weights of one group share their global scale (q, k, v; gate, up)

  std::uint64_t bytes() const;
};

struct Plan {
  Layout layout = Layout::dense;
  bool activations = false;
  std::vector<Planned> tensors;  // in the order of the source
  std::vector<std::string> shard_files;
  std::vector<std::string> dense_linears;  // modules, for the lists of the config
  std::size_t quantised = 0;
  std::uint64_t bytes = 0;  // of all tensors
  bool inverts = false;     // a reciprocal was taken that does not lead back to the same number
};

// Throws Error(usage) naming all weights that cannot be written as asked.
Plan make_plan(const Checkpoint& source, const model::ModelConfig& config, Layout to,
               const Encoding& encoding, std::uint64_t max_shard_bytes);

}  // namespace tetrad::checkpoint
