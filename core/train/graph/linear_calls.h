// The linear backend's calls as the training graph makes them: Pass::train, failures as Error with plugin and
// parameter, results checked for what the next line relies on.
#pragma once

#include "model/transformer.h"

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace tetrad::train {

class LinearCalls {
 public:
  using Matrix = model::Transformer::Matrix;

  explicit LinearCalls(model::Transformer& model) : backend_(model.backend()), id_(model.backend_id()) {}

  // y[i] = x W[i]^T: x [T, K] -> [T, N_i].
  std::vector<at::Tensor> forward(std::initializer_list<Matrix> matrices, const at::Tensor& x) const;
  at::Tensor forward(const Matrix& matrix, const at::Tensor& x) const;
  at::Tensor gather(const Matrix& matrix, const at::Tensor& ids) const;
  // dy [T, N] -> [T, K].
  at::Tensor grad_input(const Matrix& matrix, const at::Tensor& dy) const;
  // dy [T, N], x [T, K] -> [N, K].
  at::Tensor grad_weight(const Matrix& matrix, const at::Tensor& dy, const at::Tensor& x) const;

 private:
  void require(const at::Tensor& got, std::int64_t rows, std::int64_t columns, const char* call,
               const Matrix& matrix) const;

  LinearBackend& backend_;
  const std::string& id_;
};

}  // namespace tetrad::train
