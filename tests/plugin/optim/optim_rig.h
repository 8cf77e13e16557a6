// What the optimizer tests share: parameters of random values, options at their defaults, status checks.
#pragma once

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <tetrad/base/options.h>
#include <tetrad/torch/optimizer.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "optim/weight_values.h"

namespace tetrad::test {

inline Parameter random_parameter(const std::string& name, std::vector<std::int64_t> shape,
                                  at::ScalarType type, std::uint64_t seed, double scale = 0.05) {
  at::manual_seed(seed);
  Parameter p;
  p.name = name;
  p.shape = std::move(shape);
  p.role = p.shape.size() == 1 ? Role::norm : Role::linear;
  p.dense = at::randn(p.shape, at::kFloat).mul_(scale).to(type);
  p.format = type == at::kFloat ? Format::fp32 : (type == at::kBFloat16 ? Format::bf16 : Format::fp16);
  return p;
}

inline void expect_ok(const Status& status) {
  EXPECT_TRUE(status.ok()) << status.message;
}

// The parameter's values, fp32 in its own shape.
inline at::Tensor values_of(const Parameter& p) {
  const optim::Extent extent = optim::extent_of(p.shape);
  return optim::view_of(p).values(extent, 0, extent.rows).reshape(p.shape).clone();
}

inline std::vector<at::Tensor> stored_bits(const Parameter& p) {
  if (p.dense.defined()) return {p.dense.clone()};
  std::vector<at::Tensor> bits = {p.planes.codes.clone(), p.planes.scales.clone()};
  if (p.planes.lo_codes.defined()) bits.push_back(p.planes.lo_codes.clone());
  if (p.planes.lo2_codes.defined()) bits.push_back(p.planes.lo2_codes.clone());
  return bits;
}

inline std::vector<at::Tensor> state_bits(Optimizer& optimizer, StateId id) {
  std::vector<NamedTensor> tensors;
  expect_ok(optimizer.state(id, tensors));
  std::vector<at::Tensor> bits;
  for (const NamedTensor& each : tensors) bits.push_back(each.tensor.clone());
  return bits;
}

inline bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!at::equal(a[i], b[i])) return false;
  }
  return true;
}

inline Options adamw_options(const std::string& master = "fp32", const std::string& gradient = "fp32",
                             double beta2 = 0.95) {
  return Options({{"master", master},
                  {"gradient", gradient},
                  {"beta1", 0.9},
                  {"beta2", beta2},
                  {"eps", 1e-8},
                  {"offload", std::string("none")}});
}

inline Options nvfp4_options(std::int64_t planes = 2, bool literal = false) {
  return Options({{"planes", planes},
                  {"literal", literal},
                  {"beta1", 0.9},
                  {"beta2", 0.95},
                  {"eps", 1e-8},
                  {"offload", std::string("none")}});
}

// One update of one parameter.
inline void step(Optimizer& optimizer, StateId id, const at::Tensor& gradient, std::int64_t number, double lr,
                 const at::Tensor& scale = {}, const at::Tensor& stop = {}, bool measure = false) {
  UpdateItem item;
  item.state = id;
  item.gradient.dense = gradient;
  StepFactors factors;
  factors.step = number;
  factors.lr = lr;
  factors.scale = scale;
  factors.stop = stop;
  factors.measure = measure;
  expect_ok(optimizer.update({&item, 1}, factors));
}

}  // namespace tetrad::test
