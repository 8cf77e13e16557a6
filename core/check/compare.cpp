#include "check/compare.h"

#include "check/case.h"

#include <ATen/ATen.h>
#include <c10/core/ScalarType.h>
#include <fmt/format.h>

#include <cmath>
#include <cstring>

namespace tetrad::check {
namespace {

double smallest(at::ScalarType dtype) {
  return dtype == at::kHalf ? 0x1p-24 : dtype == at::kBFloat16 ? 0x1p-126 : 0x1p-120;
}

at::Tensor exact(const at::Tensor& t) {
  return t.detach().to(at::kCPU).to(at::kDouble).contiguous();
}

}  // namespace

double rounding_unit(at::ScalarType dtype) {
  return dtype == at::kFloat ? 0x1p-24 : dtype == at::kHalf ? 0x1p-11 : 0x1p-8;
}

std::string describe(const at::Tensor& t) {
  if (!t.defined()) return "an undefined tensor";
  std::string text;
  for (const std::int64_t size : t.sizes()) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return std::string(c10::toString(t.scalar_type())) + " [" + text + "]";
}

std::string index_text(at::IntArrayRef sizes, std::int64_t flat) {
  std::string text;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    text = std::to_string(flat % sizes[i]) + (text.empty() ? "" : ", ") + text;
    flat /= sizes[i];
  }
  return "[" + text + "]";
}

void require_product(const at::Tensor& got, const at::Tensor& a, const at::Tensor& b, double bound,
                     const std::string& what, Worst& worst) {
  require(got.defined() && got.dim() == 2 && got.size(0) == a.size(0) && got.size(1) == b.size(1),
          fmt::format("{}: expected [{}, {}], got {}", what, a.size(0), b.size(1), describe(got)));
  if (got.numel() == 0) return;
  const at::Tensor expected = at::mm(a, b);
  const at::Tensor size = at::mm(a.abs(), b.abs());
  const double factor =
      got.scalar_type() == at::kFloat ? bound * std::sqrt(static_cast<double>(a.size(1))) : bound;
  const at::Tensor allowed = size * factor + smallest(got.scalar_type());
  const at::Tensor ours = exact(got);
  // A result that is not finite is infinitely wrong.
  const at::Tensor ratio =
      at::nan_to_num((ours - expected).abs() / allowed, INFINITY, INFINITY, INFINITY).flatten();
  const std::int64_t at = ratio.argmax().item<std::int64_t>();
  const double greatest = ratio[at].item<double>();
  worst.ratio = std::max(worst.ratio, greatest);
  worst.elements += got.numel();
  if (greatest <= 1.0) return;
  const double error = std::abs(ours.flatten()[at].item<double>() - expected.flatten()[at].item<double>());
  throw Failure(
      fmt::format("{}: element {} is {:.6g}, exactly {:.6g}: off by {:.3g} of sum |x*w|, {:.3g} times what "
                  "numerics.bounds "
                  "allows",
                  what, index_text(got.sizes(), at), ours.flatten()[at].item<double>(),
                  expected.flatten()[at].item<double>(),
                  error / std::max(size.flatten()[at].item<double>(), 1e-300), greatest));
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.defined() != b.defined()) return false;
  if (!a.defined()) return true;
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  const at::Tensor left = a.detach().to(at::kCPU).contiguous(), right = b.detach().to(at::kCPU).contiguous();
  return left.nbytes() == 0 || std::memcmp(left.const_data_ptr(), right.const_data_ptr(), left.nbytes()) == 0;
}

void require_equal(const at::Tensor& got, const at::Tensor& expected, const std::string& what) {
  require(got.defined() && got.sizes() == expected.sizes() && got.scalar_type() == expected.scalar_type(),
          fmt::format("{}: expected {}, got {}", what, describe(expected), describe(got)));
  const at::Tensor ours = exact(got), theirs = exact(expected);
  const at::Tensor differs =
      at::logical_and(ours.ne(theirs), at::logical_not(at::logical_and(ours.isnan(), theirs.isnan())))
          .flatten();
  const std::int64_t count = differs.sum().item<std::int64_t>();
  if (count == 0) return;
  const std::int64_t at = differs.to(at::kByte).argmax().item<std::int64_t>();
  throw Failure(fmt::format("{}: element {} is {:.9g}, must be {:.9g} ({} of {} elements differ)", what,
                            index_text(got.sizes(), at), ours.flatten()[at].item<double>(),
                            theirs.flatten()[at].item<double>(), count, got.numel()));
}

void Digest::add(const at::Tensor& t) {
  const at::Tensor bytes = t.detach().to(at::kCPU).contiguous();
  const auto* at = static_cast<const unsigned char*>(bytes.const_data_ptr());
  for (std::size_t i = 0; i < bytes.nbytes(); ++i) state_ = (state_ ^ at[i]) * 0x100000001b3ULL;
}

std::string Digest::text() const {
  return fmt::format("{:016x}", state_);
}

}  // namespace tetrad::check
