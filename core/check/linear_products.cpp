// forward, gather, dX and dW against fp64 on the backend's own dequantised weights, within the declared
// bound. Random input averages over a row, so that one wrong block drowns in it; input with a single one in
// each row reads the weights that a product really uses, element by element.
#include "check/compare.h"
#include "check/linear_cases.h"
#include "check/linear_rig.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

namespace tetrad::check {
namespace {

struct Shape {
  std::int64_t t, k;
  std::vector<std::int64_t> n;  // weights that share their input
};

// One row, few, many; odd sizes; rows on both sides of where kernels usually change.
const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {{1, 64, {32}},       {1, 250, {5, 1, 48}}, {2, 16, {16}},
                                         {7, 33, {5, 1, 48}}, {8, 64, {40, 24}},    {9, 17, {3}},
                                         {24, 96, {40}},      {25, 128, {40}},      {70, 128, {96, 31}},
                                         {130, 192, {9}},     {300, 64, {64}},      {3, 512, {130}}};
  return all;
}

// Adds the weights of a shape; false where the backend does not take it.
bool add_all(LinearRig& rig, const Shape& shape, std::vector<WeightId>& ids) {
  for (const std::int64_t n : shape.n) {
    const at::Tensor dense = awkward_weight(n, shape.k, rig.setup.dtype);
    WeightId id = -1;
    if (shape.k % 64 == 0) {
      id = rig.add(dense);
    } else if (!rig.try_add(dense, id)) {
      return false;
    }
    ids.push_back(id);
  }
  return true;
}

Result summary(const LinearRig& rig, const Worst& worst, int checked, int refused) {
  std::string detail = fmt::format("{} inputs, worst error {:.2g} of the declared bound {:.3g}", checked,
                                   worst.ratio, rig.bound);
  if (refused > 0) detail += fmt::format("; {} shapes refused", refused);
  return {detail,
          {{"shapes", checked},
           {"refused", refused},
           {"elements", worst.elements},
           {"bound", rig.bound},
           {"worst_of_bound", worst.ratio}},
          {}};
}

// Runs `check` for every shape on one backend.
template <class Check>
Result for_shapes(const Target& target, LinearPoint at, Check&& check) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  Worst worst;
  int checked = 0, refused = 0;
  for (const Shape& shape : shapes()) {
    std::vector<WeightId> ids;
    if (!add_all(rig, shape, ids)) {
      ++refused;
      continue;
    }
    check(rig, shape, ids, worst);
    ++checked;
  }
  return summary(rig, worst, checked, refused);
}

const char* pass_name(Pass pass) {
  return pass == Pass::train ? "train" : "eval";
}

// Rows [from, from + count) of the identity, times -1.5: exact in every dtype, and not the 1 that a kernel
// could treat apart.
at::Tensor selector(std::int64_t from, std::int64_t count, std::int64_t columns) {
  at::Tensor x = at::zeros({count, columns}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i) x[i][from + i] = -1.5;
  return x;
}

}  // namespace

Result check_forward(const Target& target, LinearPoint at) {
  return for_shapes(target, at,
                    [](LinearRig& rig, const Shape& shape, const std::vector<WeightId>& ids, Worst& worst) {
                      at::Tensor x = rig.input(shape.t, shape.k);
                      // Of any values, where they will be rounded.
                      if (rig.target.contract.rounds_activations) x = x + rig.input(shape.t, shape.k);
                      for (const Pass pass : rig.passes()) {
                        const std::vector<at::Tensor> y = rig.forward(ids, x, pass);
                        for (std::size_t i = 0; i < ids.size(); ++i) {
                          require_product(y[i], rig.read(x), rig.exact(ids[i]).t(), rig.bound,
                                          fmt::format("forward ({} pass) of x [{}, {}] with W [{}, {}]",
                                                      pass_name(pass), shape.t, shape.k, shape.n[i], shape.k),
                                          worst);
                        }
                      }
                    });
}

Result check_forward_by_element(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  Worst worst;
  int checked = 0;
  for (const std::int64_t k : {64, 192}) {
    const WeightId id = rig.add(awkward_weight(37, k, at.dtype));
    const at::Tensor w = rig.exact(id).t();
    for (const std::int64_t rows : {std::int64_t{1}, std::int64_t{5}, k}) {
      for (std::int64_t from = 0; from < k; from += rows) {
        const at::Tensor x = selector(from, std::min(rows, k - from), k);
        for (const Pass pass : rig.passes()) {
          require_product(rig.forward(id, x.to(at.dtype).to(rig.setup.device), pass), x, w, rig.bound,
                          fmt::format("forward ({} pass) that reads columns {} to {} of W [37, {}]",
                                      pass_name(pass), from, from + x.size(0) - 1, k),
                          worst);
        }
        ++checked;
      }
    }
  }
  return summary(rig, worst, checked, 0);
}

Result check_gather(const Target& target, LinearPoint at) {
  return for_shapes(
      target, at, [](LinearRig& rig, const Shape& shape, const std::vector<WeightId>& ids, Worst& worst) {
        for (std::size_t i = 0; i < ids.size(); ++i) {
          at::Tensor rows = at::randint(0, shape.n[i], {shape.t + 2}, at::kLong);
          rows[0] = shape.n[i] - 1;  // the last, and one row twice
          rows[shape.t + 1] = shape.n[i] - 1;
          const at::Tensor w = rig.dequantized(ids[i]);
          for (int again = 0; again < 2; ++again) {
            require_equal(rig.gather(ids[i], rows), w.index_select(0, rig.to_device(rows)),
                          fmt::format("gather of {} rows of W [{}, {}]", rows.size(0), shape.n[i], shape.k));
            rig.forward(ids[i], rig.input(2, shape.k), Pass::eval);  // fills the eval cache
          }
          worst.elements += rows.size(0) * shape.k;
        }
      });
}

Result check_grad_input(const Target& target, LinearPoint at) {
  Result result = for_shapes(
      target, at, [](LinearRig& rig, const Shape& shape, const std::vector<WeightId>& ids, Worst& worst) {
        for (std::size_t i = 0; i < ids.size(); ++i) {
          const at::Tensor dy = rig.input(shape.t, shape.n[i]);
          require_product(
              rig.grad_input(ids[i], dy), to_fp64(dy), rig.exact(ids[i]), rig.bound,
              fmt::format("dX of dy [{}, {}] with W [{}, {}]", shape.t, shape.n[i], shape.n[i], shape.k),
              worst);
          const at::Tensor one = selector(0, shape.n[i], shape.n[i]);
          require_product(rig.grad_input(ids[i], one.to(rig.setup.dtype).to(rig.setup.device)), one,
                          rig.exact(ids[i]), rig.bound,
                          fmt::format("dX that reads every row of W [{}, {}]", shape.n[i], shape.k), worst);
        }
      });
  return result;
}

Result check_grad_weight(const Target& target, LinearPoint at) {
  return for_shapes(
      target, at, [](LinearRig& rig, const Shape& shape, const std::vector<WeightId>& ids, Worst& worst) {
        for (std::size_t i = 0; i < ids.size(); ++i) {
          const at::Tensor x = rig.input(shape.t, shape.k), dy = rig.input(shape.t, shape.n[i]);
          require_product(
              rig.grad_weight(ids[i], dy, x), to_fp64(dy).t(), rig.read(x), rig.bound,
              fmt::format("dW of dy [{}, {}] and x [{}, {}]", shape.t, shape.n[i], shape.t, shape.k), worst);
        }
      });
}

Result check_views(const Target& target, LinearPoint at) {
  LinearRig rig(target, at.path, at.dtype);
  rig.configure();
  const WeightId id = rig.add(awkward_weight(24, 64, at.dtype));
  const at::Tensor w = rig.exact(id);
  Worst worst;
  int refused = 0;
  const auto check = [&](const at::Tensor& x, const char* what) {
    std::vector<at::Tensor> y;
    const Status status = rig.backend.forward(std::vector<WeightId>{id}, x, Pass::eval, y);
    if (!status.ok()) {
      require(!status.message.empty(), std::string("forward of ") + what + " failed without a message");
      ++refused;
      return;
    }
    require(y.size() == 1, std::string("forward of ") + what + " gave no result");
    require_product(y[0], rig.read(x), w.t(), rig.bound, std::string("forward of ") + what, worst);
  };
  // Rows in the middle of a larger tensor: what lies around them must stay as it is.
  const at::Tensor whole = rig.input(20, 64);
  const at::Tensor before = whole.clone();
  check(whole.narrow(0, 7, 5), "rows of a larger tensor");
  require_equal(whole, before, "forward of rows of a larger tensor: the tensor afterwards");
  check(rig.input(64, 6).t(), "a transposed x");
  check(rig.input(9, 130).narrow(1, 33, 64), "columns of a larger x");
  check(rig.input(1, 64).expand({4, 64}), "an expanded x");
  std::string detail = fmt::format("worst error {:.2g} of the declared bound", worst.ratio);
  if (refused > 0) detail += fmt::format("; {} of 4 layouts refused", refused);
  return {detail, {{"worst_of_bound", worst.ratio}, {"refused", refused}}, {}};
}

}  // namespace tetrad::check
