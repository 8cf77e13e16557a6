// Normally distributed test values, the same on every run.
#pragma once

#include <tetrad/nvfp4/half.h>

#include <cstdint>
#include <random>
#include <vector>

namespace tetrad::test {

template <class T>
std::vector<T> narrow(const std::vector<float>& x) {
  std::vector<T> out;
  out.reserve(x.size());
  for (const float v : x) out.push_back(nvfp4::from_float<T>(v));
  return out;
}

template <class T = float>
std::vector<T> gaussian(std::int64_t n, unsigned seed, float sigma = 0.02f) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& v : x) v = normal(rng);
  return narrow<T>(x);
}

}  // namespace tetrad::test
