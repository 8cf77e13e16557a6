// backend-nvfp4: weights in NVFP4 (blocks of 1 x 16), activations in the run's dtype, sums in fp32.
//
// Training path: Parameter::dense stays as it is. Each training pass quantises and dequantises it on the way
// into the product (the gradient goes straight through to dense); eval passes do the same once per version of
// the weight and keep the result in the eval cache. Where nothing is trained (LinearSetup::trainable), the
// option `residency` lets prepare() turn dense into planes and drop it, as on the bridge path; products and
// eval cache are the same bits, since quantising gives the same planes whenever it is done.
//
// Bridge path: prepare() turns dense into planes and drops it; no dequantised copy is ever held. A few rows
// of x meet the packed weight directly (tetrad/nvfp4/product.h); more of them meet strips of it that are
// dequantised into a workspace of bounded size. A few rows of x meet a dense weight in bf16 (the eval cache,
// a strip) in tetrad/nvfp4/dense_product.h. Parameters that come as planes serve on both paths and are only
// ever dequantised. One with residual planes is their sum, hi + lo / 4 [+ lo2 / 16], rounded once to the
// run's dtype, or hi alone, as the option `forward` says, in everything below. A few rows meet it in strips
// too, but for hi + lo on CUDA, whose packed kernel reads both planes.
//
// With `activations: nvfp4` every product of a quantised weight reads x rounded to NVFP4
// (TensorCodec::activations) in place of x, and so does dW; nothing else changes. `compute: native`
// multiplies the codes of both on FP4 tensor cores (native_product.h).
//
// Strips are the same on every path, whatever they come from, so a product's bits do not depend on whether
// the eval cache is on; but on a CUDA device, where one row of x takes a product of another shape from it
// (see joint_cache()), whose sums cuBLAS may order otherwise. A global scale that is not a power of two is
// never multiplied into a 16-bit weight: it is the product's fp32 alpha (see folds() in common.h).
#pragma once

#include <tetrad/base/options.h>
#include <tetrad/nvfp4/dense_product.h>
#include <tetrad/torch/linear.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "native_product.h"
#include "options.h"
#include "tensor_codec.h"

namespace tetrad::backend_nvfp4 {

class BackendNvfp4 final : public LinearBackend {
 public:
  explicit BackendNvfp4(const Options& options) : options_(read_options(options)) {}
  // With another product of FP4 operands on whatever device, for tests of all that leads to it.
  BackendNvfp4(const Options& options, Fp4Product product)
      : options_(read_options(options)), fp4_product_(product), fp4_is_given_(true) {}

  Capability capability(const LinearSetup& setup) const noexcept override;
  Status configure(const LinearSetup& setup) noexcept override;
  Status prepare(Parameter& parameter, WeightId& weight) noexcept override;

  Status forward(std::span<const WeightId> weights, const at::Tensor& x, Pass pass,
                 std::vector<at::Tensor>& y) noexcept override;
  Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept override;
  Status grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept override;
  Status grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                     at::Tensor& dw) noexcept override;
  Status dequantized(WeightId weight, at::Tensor& w) noexcept override;

  std::int64_t clear_eval_cache() noexcept override;
  LinearMemory memory() const noexcept override;
  std::uint64_t weight_epoch() const noexcept override;

 private:
  enum class Source : std::uint8_t {
    as_is,     // dense and not quantised: an embedding that the options leave alone
    quantise,  // dense, quantised on the way into the product
    planes,
  };
  struct Weight {
    const Parameter* parameter = nullptr;
    Source source = Source::as_is;
    std::optional<std::uint64_t> scaled_at;  // the version that `global` belongs to
    nvfp4::GlobalScale global;
    at::Tensor cache;  // [N, K], the setup's dtype, in the form that products use (see factor)
    std::optional<std::uint64_t> cached_at;
    at::Tensor recent;  // the same of a training pass on a device, for a while: see recent_values()
    std::optional<std::uint64_t> recent_at;
    std::uint64_t recent_use = 0;
    Fp4Operand
        operand;  // compute: native; kept as long as the eval cache is, or the planes on the bridge path
    std::optional<std::uint64_t> operand_at;
    mutable std::array<const void*, 4> seen{};  // addresses of the values when weight_epoch() last looked
  };
  // A strip of rows in the dtype that the product runs in; the weight is alpha * values.
  using Strip = std::function<void(std::int64_t first, const at::Tensor& values, float alpha)>;

  const char* emulated() const noexcept;  // the capability's name of it
  std::string why_not_native(at::Device device) const;
  static std::int64_t operand_bytes(const Weight& w);  // without planes that it shares
  Weight& at_id(WeightId weight);
  bool packs(const Parameter& p) const;
  // Whether prepare() turns a dense weight into planes and drops it.
  bool holds_planes() const noexcept { return holds_planes(setup_); }
  bool holds_planes(const LinearSetup& setup) const noexcept;
  // How many residual planes of this parameter products see: 0, 1 or 2.
  int residuals(const Parameter& p) const;
  PlaneTensors planes_of(const Parameter& p) const;
  // Whether the weight's decode scale goes into its values in the setup's dtype (common.h).
  bool folds_in(const Parameter& p, float scale) const;
  void check_dense(const Parameter& p) const;
  void check_planes(const Parameter& p) const;
  void pack(Parameter& p, nvfp4::GlobalScale global) const;
  // Global scale of a dense weight as it is now; throws numerics with the weight's name when it is not
  // finite.
  nvfp4::GlobalScale global_of(Weight& w) const;
  float decode_scale(Weight& w) const;

  std::int64_t strip_rows(std::int64_t cols) const;
  at::ScalarType product_dtype() const;
  at::Tensor workspace(std::int64_t rows, std::int64_t cols, at::ScalarType dtype);
  // The dequantised rows [first, first + out.size(0)) times `scale`, which codes * block scales are
  // multiplied by.
  void decode(const Weight& w, std::int64_t first, float scale, const at::Tensor& out) const;
  const at::Tensor& filled_cache(Weight& w);
  // The eval caches of weights that meet the same x, one below the other in one buffer, filled: a single row
  // of x then takes one product for all of them. Undefined where that cannot be: one weight alone, one that
  // is not quantised, a decode scale that is applied to sums, rows that would not start at 16 bytes in the
  // result, a CPU (whose products share x anyway).
  at::Tensor joint_cache(std::span<const WeightId> weights);
  bool cache_is_fresh(const Weight& w) const;
  // Where the values of a weight may come from that would be decoded otherwise: the eval cache, or those that
  // a training pass decoded a moment ago.
  enum class Reuse : std::uint8_t { none, cache, recent };
  void for_each_strip(Weight& w, Reuse reuse, const Strip& visit);
  // A training pass on a device meets a weight twice within a block: when the block is computed again, and
  // for the gradient of its input. So the weights decoded last are kept, in a bounded number of bytes.
  // Undefined for a weight that takes more than one strip, and on a CPU.
  at::Tensor recent_values(Weight& w, float fold);
  void forget_recent(Weight& w);

  // Which product a few rows of x get; every other case is strip_product.
  bool meets_packed(const Weight& w, const at::Tensor& x) const;
  bool meets_dense(const at::Tensor& x) const;
  at::Tensor strip_product(Weight& w, const at::Tensor& x, Reuse reuse);
  // compute: native. Of a training pass nothing is kept.
  Fp4Operand make_operand(Weight& w);
  at::Tensor native_product(Weight& w, const Fp4Operand& x, bool keep);
  void packed_product(std::span<const WeightId> weights, const at::Tensor& x, std::vector<at::Tensor>& y);
  void dense_product(std::span<const WeightId> weights, const at::Tensor& x, std::vector<at::Tensor>& y);
  void dense_rows(const at::Tensor& x, const std::vector<nvfp4::DenseView>& views,
                  const std::vector<at::Tensor>& y);

  BackendOptions options_;
  Fp4Product fp4_product_ = &fp4_product;
  bool fp4_is_given_ = false;
  LinearSetup setup_;
  std::optional<TensorCodec> codec_;  // set by configure
  std::vector<Weight> weights_;
  at::Tensor workspace_;
  std::int64_t recent_bytes_ = 0;
  std::uint64_t recent_uses_ = 0;
  std::vector<float> prepared_;  // x of a product for few rows, in the kernel's order; kept for its memory
  mutable std::uint64_t epoch_ = 0;
};

}  // namespace tetrad::backend_nvfp4
