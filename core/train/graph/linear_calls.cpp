#include "train/graph/linear_calls.h"

#include "model/plugin_call.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <utility>

namespace tetrad::train {

void LinearCalls::require(const at::Tensor& got, std::int64_t rows, std::int64_t columns, const char* call,
                          const Matrix& matrix) const {
  if (got.defined() && got.dim() == 2 && got.size(0) == rows && got.size(1) == columns) return;
  throw Error(fmt::format("[{}] {} of {}: the result is not [{}, {}]; the plugin broke its contract", id_,
                          call, matrix.parameter->name, rows, columns));
}

std::vector<at::Tensor> LinearCalls::forward(std::initializer_list<Matrix> matrices,
                                             const at::Tensor& x) const {
  std::vector<WeightId> ids;
  for (const Matrix& matrix : matrices) ids.push_back(matrix.id);
  std::vector<at::Tensor> results;
  model::check(backend_.forward(ids, x, Pass::train, results), id_,
               "forward of " + matrices.begin()->parameter->name);
  if (results.size() != matrices.size())
    throw Error(fmt::format("[{}] forward of {}: {} results for {} weights; the plugin broke its contract",
                            id_, matrices.begin()->parameter->name, results.size(), matrices.size()));
  std::size_t i = 0;
  for (const Matrix& matrix : matrices)
    require(results[i++], x.size(0), matrix.parameter->shape[0], "forward", matrix);
  return results;
}

at::Tensor LinearCalls::forward(const Matrix& matrix, const at::Tensor& x) const {
  return std::move(forward({matrix}, x).front());
}

at::Tensor LinearCalls::gather(const Matrix& matrix, const at::Tensor& ids) const {
  at::Tensor rows;
  model::check(backend_.gather(matrix.id, ids, rows), id_, "gather of " + matrix.parameter->name);
  require(rows, ids.size(0), matrix.parameter->shape[1], "gather", matrix);
  return rows;
}

at::Tensor LinearCalls::grad_input(const Matrix& matrix, const at::Tensor& dy) const {
  at::Tensor dx;
  model::check(backend_.grad_input(matrix.id, dy, dx), id_, "grad_input of " + matrix.parameter->name);
  require(dx, dy.size(0), matrix.parameter->shape[1], "grad_input", matrix);
  return dx;
}

at::Tensor LinearCalls::grad_weight(const Matrix& matrix, const at::Tensor& dy, const at::Tensor& x) const {
  at::Tensor dw;
  model::check(backend_.grad_weight(matrix.id, dy, x, dw), id_, "grad_weight of " + matrix.parameter->name);
  require(dw, matrix.parameter->shape[0], matrix.parameter->shape[1], "grad_weight", matrix);
  return dw;
}

}  // namespace tetrad::train
