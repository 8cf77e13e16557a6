// Keeps every intermediate tensor of the last positions of a script while it is fed, however many passes that
// takes, and stores them as layers.safetensors: "positions" int64 [P], and fp32 [P, width] for each tensor,
// named "<layer>/<order>.<tensor>" ("003/05.k_rotated"; layer "-01" before the first block, the number of
// layers after the last), so that the order of names is the order of computing. Rows stay in host memory, in
// the run's dtype, until write().
#pragma once

#include "generate/context.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tetrad::parity {

class LayerRecorder final : public generate::PassObserver {
 public:
  // Keeps positions [begin, end).
  LayerRecorder(std::int64_t begin, std::int64_t end) : begin_(begin), end_(end) {}

  void pass(std::int64_t begin, std::int64_t end, std::int64_t first_new) override;
  void seen(std::int64_t layer, std::string_view tensor, const at::Tensor& value) override;

  // Throws Error when a tensor was not seen at every position.
  void write(const std::filesystem::path& file, const std::map<std::string, std::string>& metadata) const;

 private:
  struct Rows {
    std::vector<at::Tensor> parts;  // [n, width] on the host
    std::int64_t count = 0, width = 0;
  };

  std::int64_t begin_, end_;
  std::int64_t pass_begin_ = 0, from_ = 0, to_ = 0;         // of this pass: its first row, the rows to keep
  std::map<std::int64_t, std::vector<std::string>> order_;  // tensors of a layer
  std::map<std::string, Rows> rows_;
};

}  // namespace tetrad::parity
