#include "parity/compare/training.h"

#include "io/safetensors.h"
#include "parity/compare/arm_file.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace tetrad::parity {

using nlohmann::json;

namespace {

struct Sums {
  double difference = 0, reference = 0, own = 0, product = 0;  // squares, and reference * own

  void add(double r, double o) {
    difference += (o - r) * (o - r);
    reference += r * r;
    own += o * o;
    product += r * o;
  }
  double relative_error() const {
    if (difference == 0) return 0;
    return reference > 0 ? std::sqrt(difference / reference) : std::numeric_limits<double>::infinity();
  }
  double cosine() const {
    if (reference == 0 && own == 0) return 1;
    return reference > 0 && own > 0 ? product / std::sqrt(reference * own) : 0;
  }
};

float float_at(std::span<const std::byte> bytes, std::size_t i) {
  float value = 0;
  std::memcpy(&value, bytes.data() + i * sizeof(float), sizeof(float));
  return value;
}

}  // namespace

Updates compare_updates(const std::filesystem::path& reference_path, const std::filesystem::path& own_path) {
  const io::SafetensorsFile reference = open_tensors(reference_path);
  const io::SafetensorsFile own = open_tensors(own_path);
  Updates result;
  Sums all;
  for (const io::TensorView& b : own.tensors()) {
    if (reference.find(b.name) == nullptr) result.missing.push_back(b.name);
  }
  for (const io::TensorView& a : reference.tensors()) {
    const io::TensorView* b = own.find(a.name);
    if (b == nullptr) {
      result.missing.push_back(a.name);
      continue;
    }
    if (a.dtype != io::DType::f32 || b->dtype != io::DType::f32 || a.shape != b->shape) {
      throw Error(
          ExitCode::usage,
          fmt::format("[parity] {}: '{}' is {}, the reference arm's is {}; both must be F32 of one shape",
                      own_path.string(), a.name, io::describe(b->dtype, b->shape),
                      io::describe(a.dtype, a.shape)));
    }
    Sums sums;
    UpdateComparison tensor;
    tensor.name = a.name;
    tensor.elements = a.elements();
    for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.elements); ++i) {
      const double r = float_at(a.bytes, i);
      const double o = float_at(b->bytes, i);
      if (!std::isfinite(r) || !std::isfinite(o)) {
        tensor.finite = false;
        continue;
      }
      sums.add(r, o);
    }
    tensor.relative_error = sums.relative_error();
    tensor.cosine = sums.cosine();
    all.difference += sums.difference;
    all.reference += sums.reference;
    all.own += sums.own;
    all.product += sums.product;
    reference.release(a);
    own.release(*b);
    result.tensors.push_back(tensor);
  }
  std::sort(result.tensors.begin(), result.tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  std::sort(result.missing.begin(), result.missing.end());
  result.relative_error = all.relative_error();
  result.cosine = all.cosine();
  return result;
}

Losses compare_losses(const json& reference, const json& own) {
  Losses result;
  if (!reference.is_array() || !own.is_array()) return result;
  result.equal_length = reference.size() == own.size();
  result.steps = std::min(reference.size(), own.size());
  for (std::size_t i = 0; i < result.steps; ++i) {
    if (!reference[i].is_number() || !own[i].is_number()) {
      result.finite = false;
      continue;
    }
    const double r = reference[i].get<double>();
    const double difference = std::fabs(own[i].get<double>() - r);
    const double relative = difference == 0 ? 0 : difference / std::max(std::fabs(r), 1e-30);
    if (i == 0) result.first_relative = relative;
    if (relative > result.max_relative) {
      result.max_relative = relative;
      result.max_step = i + 1;
    }
  }
  return result;
}

}  // namespace tetrad::parity
