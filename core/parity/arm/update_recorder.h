// What one training step did to each trained parameter, as updates.safetensors: under its name, fp32 of its
// shape, the values after the step minus those before. Values are the parameter's own, decoded exactly: dense
// ones as they are, planes as (hi + lo / 4 + lo2 / 16) * scales. Never two copies of the weights in memory:
// the values before lie in a temporary file beside the target, which is as large (4 bytes per element) and is
// removed.
#pragma once

#include <tetrad/torch/parameter.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace tetrad::parity {

// Rows [first, first + count) of a parameter as fp32 on the host, [count, columns]; a vector is one row.
at::Tensor parameter_values(const Parameter& parameter, std::int64_t first, std::int64_t count);

class UpdateRecorder {
 public:
  using Trained = std::function<bool(const Parameter&)>;

  // Stores the values of all parameters that `trained` names. `parameters` must outlive this.
  UpdateRecorder(const std::deque<Parameter>& parameters, const Trained& trained, std::filesystem::path file);
  ~UpdateRecorder();
  UpdateRecorder(const UpdateRecorder&) = delete;
  UpdateRecorder& operator=(const UpdateRecorder&) = delete;

  // Writes the file from the values as they are now.
  void write(const std::map<std::string, std::string>& metadata);
  std::vector<std::string> names() const;

 private:
  std::vector<const Parameter*> parameters_;
  std::filesystem::path file_, before_;
};

}  // namespace tetrad::parity
