// A linear backend for `plugins check` to find fault with: weights through the NVFP4 codec, products by
// libtorch, and one deliberate defect, named by the option `fault`.
#include <ATen/ATen.h>
#include <tetrad/base/plugin.h>
#include <tetrad/nvfp4/packed_tensor.h>
#include <tetrad/torch/guarded.h>
#include <tetrad/torch/linear.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using tetrad::Capability;
using tetrad::LinearMemory;
using tetrad::LinearSetup;
using tetrad::Parameter;
using tetrad::Pass;
using tetrad::Path;
using tetrad::Status;
using tetrad::StatusCode;
using tetrad::StatusError;
using tetrad::Support;
using tetrad::torch_guarded;
using tetrad::WeightId;

[[noreturn]] void refuse(const std::string& text) {
  throw StatusError(StatusCode::internal, text);
}

class CheckLinear final : public tetrad::LinearBackend {
 public:
  explicit CheckLinear(const tetrad::Options& options) : fault_(options.get<std::string>("fault")) {
    // For commands that take no plugin options.
    if (const char* fault = std::getenv("TETRAD_CHECK_FAULT"); fault != nullptr && is("none")) fault_ = fault;
    if (is("throws_in_constructor")) throw StatusError(StatusCode::invalid_option, "I do not want to");
    if (is("crashes_in_constructor")) crash();
  }

  Capability capability(const LinearSetup& setup) const noexcept override {
    const bool can = setup.dtype == at::kFloat && setup.path == Path::training && setup.device.is_cpu();
    if (can && is("denies_its_claim")) return {Support::unsupported, "", "not today"};
    if (can || is("claims_everything")) return {Support::emulated, "dense", ""};
    return {Support::unsupported, "", "float32 on the training path only"};
  }
  Status configure(const LinearSetup& setup) noexcept override {
    return torch_guarded([&] {
      if (configured_ && !is("configures_twice")) refuse("configured twice");
      if (capability(setup).support == Support::unsupported) refuse("float32 on the training path only");
      configured_ = true;
    });
  }

  Status prepare(Parameter& p, WeightId& weight) noexcept override {
    return torch_guarded([&] {
      if (!configured_) refuse("not configured");
      if (is("writes_the_id_early")) weight = 0;
      if (p.shape.size() != 2 || p.format != tetrad::Format::fp32 || !p.dense.defined() ||
          p.dense.sizes() != at::IntArrayRef(p.shape))
        refuse("cannot hold '" + p.name + "'");
      weights_.push_back({&p, encoded(p), p.version, {}});
      weight = static_cast<WeightId>(weights_.size() - 1);
      if (is("drops_the_parameter")) p.dense = at::Tensor();
    });
  }

  Status forward(std::span<const WeightId> ids, const at::Tensor& x, Pass pass,
                 std::vector<at::Tensor>& y) noexcept override {
    return torch_guarded([&] {
      if (is("changes_y_on_error")) y.clear();
      std::vector<at::Tensor> results;
      for (const WeightId id : ids) {
        Weight& w = at_id(id);
        at::Tensor in = x;
        if (is("takes_any_dtype")) in = x.to(at::kFloat);
        if (!in.defined() || in.dim() != 2 || in.size(1) != w.parameter->shape[1] ||
            in.scalar_type() != at::kFloat)
          refuse("x does not fit");
        if (is("changes_x")) in.add_(1);
        if (is("hides_nan_in_x")) in = at::nan_to_num(in, 0, 0, 0);
        at::Tensor values = current(w);
        if (is("forward_block")) values = with_wrong_block(values, 0.5);
        if (is("forward_block_of_few_rows") && x.size(0) <= 4) values = with_wrong_block(values, 2);
        if (pass == Pass::eval || is("fills_cache_in_training")) w.cache = values.clone();
        at::Tensor out = at::mm(in, values.t());
        if (is("noise")) out.mul_(1.0 + 0x1p-22 * (counter_++ % 3));
        if (is("noise_of_the_process")) out.mul_(1.0 + 0x1p-22 * (::getpid() % 4096));
        if (is("prints")) std::printf("forward\n");
        results.push_back(out);
      }
      y = std::move(results);
    });
  }

  Status gather(WeightId weight, const at::Tensor& ids, at::Tensor& out) noexcept override {
    return torch_guarded([&] {
      if (is("crashes")) crash();
      if (is("exits")) ::_exit(0);
      Weight& w = at_id(weight);
      if (!ids.defined()) refuse("no ids");
      out = at::index_select(current(w), 0, ids);
      if (is("gathers_the_parameter")) out = at::index_select(w.parameter->dense, 0, ids);
    });
  }

  Status grad_input(WeightId weight, const at::Tensor& dy, at::Tensor& dx) noexcept override {
    return torch_guarded([&] {
      at::Tensor values = current(at_id(weight));
      if (!dy.defined()) refuse("no dy");
      if (is("grad_input_scale")) values = with_wrong_block(values, 2);
      dx = at::mm(dy, values);
    });
  }

  Status grad_weight(WeightId weight, const at::Tensor& dy, const at::Tensor& x,
                     at::Tensor& dw) noexcept override {
    return torch_guarded([&] {
      while (is("hangs")) ::sleep(1);
      const Weight& w = at_id(weight);
      if (!dy.defined() || !x.defined() || dy.size(1) != w.parameter->shape[0] ||
          x.size(1) != w.parameter->shape[1])
        refuse("dy or x does not fit");
      if (is("skips_a_row") && dy.size(0) > 1 && dy.size(0) == x.size(0)) {
        dw = at::mm(dy.narrow(0, 1, dy.size(0) - 1).t(), x.narrow(0, 1, dy.size(0) - 1));
        return;
      }
      dw = at::mm(dy.t(), x);
    });
  }

  Status dequantized(WeightId weight, at::Tensor& w) noexcept override {
    if (is("throws")) throws();
    return torch_guarded([&] { w = current(at_id(weight)).clone(); });
  }

  std::int64_t clear_eval_cache() noexcept override {
    const std::int64_t bytes = memory().eval_cache_bytes;
    for (Weight& w : weights_) w.cache = at::Tensor();
    if (bytes > 0) ++epoch_;
    return is("miscounts_the_cache") ? bytes / 2 : bytes;
  }
  LinearMemory memory() const noexcept override {
    LinearMemory result;
    for (const Weight& w : weights_) {
      result.weight_bytes += static_cast<std::int64_t>(w.values.nbytes());
      if (w.cache.defined()) result.eval_cache_bytes += static_cast<std::int64_t>(w.cache.nbytes());
    }
    return result;
  }
  std::uint64_t weight_epoch() const noexcept override { return epoch_; }

 private:
  struct Weight {
    Parameter* parameter;
    at::Tensor values;  // the stored weight of `version`
    std::uint64_t version;
    at::Tensor cache;
  };

  bool is(const char* fault) const { return fault_ == fault; }
  // A function of its own: a plain throw in a noexcept function is a warning.
  [[gnu::noinline]] static void throws() { throw std::runtime_error("thrown over the line"); }
  [[gnu::noinline]] static void crash() {
    volatile int* volatile nowhere = nullptr;
    *nowhere = 1;
  }

  Weight& at_id(WeightId id) {
    if (id < 0 || static_cast<std::size_t>(id) >= weights_.size()) refuse("no such weight");
    return weights_[static_cast<std::size_t>(id)];
  }

  // Row 2, columns 16 to 31, as if its scale were another one.
  static at::Tensor with_wrong_block(const at::Tensor& w, double factor) {
    at::Tensor wrong = w.clone();
    if (w.size(0) > 2 && w.size(1) >= 32) wrong[2].narrow(0, 16, 16).mul_(factor);
    return wrong;
  }

  at::Tensor encoded(const Parameter& p) const {
    const at::Tensor dense = p.dense.contiguous();
    tetrad::nvfp4::EncodeOptions options;
    options.global = tetrad::nvfp4::GlobalRule::exact;
    at::Tensor w = at::empty_like(dense);
    if (is("hidden_nan") && !at::isfinite(dense).all().item<bool>()) return at::nan_to_num(dense, 0, 0, 0);
    try {
      const auto packed = tetrad::nvfp4::encode(dense.data_ptr<float>(), dense.size(0), dense.size(1),
                                                dense.size(1), options);
      tetrad::nvfp4::dequantize(packed.codes.data(), packed.scales.data(), packed.global.decode,
                                dense.size(0), dense.size(1), w.data_ptr<float>());
    } catch (const std::exception& e) {
      throw StatusError(StatusCode::numerics, (is("nameless_nan") ? "a weight" : p.name) + ": " + e.what());
    }
    if (is("wrong_global")) w.mul_(2);
    if (is("wrong_block")) w = with_wrong_block(w, 2);
    if (is("wrong_block_half")) w = with_wrong_block(w, 0.5);
    if (is("wrong_ulp")) w = with_wrong_block(w, 1 + 0x1p-20);
    if (is("unquantised")) w = dense.clone();
    return w;
  }

  at::Tensor current(Weight& w) const {
    if (w.version != w.parameter->version && !is("stale")) {
      w.values = encoded(*w.parameter);
      w.version = w.parameter->version;
    }
    return w.values;
  }

  std::string fault_;
  bool configured_ = false;
  std::vector<Weight> weights_;
  std::uint64_t epoch_ = 0;
  int counter_ = 0;
};

}  // namespace

TETRAD_PLUGIN(tetrad::Provides<"linear", tetrad::LinearBackend, CheckLinear>);
