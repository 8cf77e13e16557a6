// Comparing a plugin's results with exact ones. Everything here runs on the CPU in fp64 and shares no code
// with a backend.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace tetrad::check {

// "bfloat16 [7, 33]", "an undefined tensor".
std::string describe(const at::Tensor& t);

// Half a unit in the last place, relative: one rounding to a dtype.
double rounding_unit(at::ScalarType dtype);

// The greatest error seen, in units of what was allowed.
struct Worst {
  double ratio = 0.0;
  std::int64_t elements = 0;
};

// got [M, N] against a [M, terms] * b [terms, N], both fp64 on the CPU. An element may be off by
// bound * sum |a * b| (times sqrt(terms) in float32), and by the smallest number of got's dtype. Throws
// Failure naming the worst element, with `what` in front.
void require_product(const at::Tensor& got, const at::Tensor& a, const at::Tensor& b, double bound,
                     const std::string& what, Worst& worst);

// Equal sizes, dtypes and bits (NaN equals NaN). Throws Failure naming the first element that differs.
void require_equal(const at::Tensor& got, const at::Tensor& expected, const std::string& what);

// Whether the bits are equal; undefined tensors are equal to each other.
bool same_bits(const at::Tensor& a, const at::Tensor& b);

// "[3, 17]" of a flat index.
std::string index_text(at::IntArrayRef sizes, std::int64_t flat);

// FNV-1a over the bytes of tensors, for results that must be the same in two processes.
class Digest {
 public:
  void add(const at::Tensor& t);
  std::string text() const;

 private:
  std::uint64_t state_ = 0xcbf29ce484222325ULL;
};

}  // namespace tetrad::check
