// A parameter's stored values on any device, in ATen operations: for the proof that a parameter moved, for
// conversions and tests. Not for hot paths.
#pragma once

#include <tetrad/torch/parameter.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tetrad::optim {

// Rows and columns of the matrix that a parameter is stored as: a vector is one row.
struct Extent {
  std::int64_t rows = 1, cols = 1;
};
Extent extent_of(std::span<const std::int64_t> shape);

// Tied planes of a format; 0 for a dense one.
int plane_count(Format format) noexcept;

// E2M1 codes [R, C / 2] and E4M3 scales [R, C / 16] -> fp32 [R, C], without the global scale.
at::Tensor decode_plane(const at::Tensor& codes, const at::Tensor& scales);

// The bits of a stored weight (copies), in pieces that can be compared.
struct StoredWeight {
  Format format = Format::fp32;
  at::Tensor dense;
  Planes planes;

  // fp32 [n, cols]: rows [first, first + n).
  at::Tensor values(Extent extent, std::int64_t first, std::int64_t n) const;
};
StoredWeight copy_of(const Parameter& parameter);
StoredWeight view_of(const Parameter& parameter);

struct WeightChange {
  double changed = 0.0;   // share of elements whose value differs
  double relative = 0.0;  // |after - before| / |before|
};
WeightChange compare(const StoredWeight& before, const StoredWeight& after, Extent extent);

}  // namespace tetrad::optim
