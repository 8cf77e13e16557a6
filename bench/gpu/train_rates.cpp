// What a training step of Qwen3-4B's shape is made of, kernel by kernel, at 4 x 2,048 tokens: the
// element-wise kernels as shares of the copy rate, attention by flash and by cuDNN, products one by one and
// together, and how often a step with block checkpointing runs each, so that the parts add up to a budget.
#include <ATen/core/Tensor.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/cuda/CUDAGuard.h>
#include <tetrad/nvfp4/cuda.h>
#include <tetrad/nvfp4/cuda/planes.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bench.h"
#include "ops/cuda/train_kernels.h"

namespace tetrad::bench {
namespace {

using nvfp4::Bf16;

constexpr std::int64_t kTokens = 8192, kWidth = 2048, kHidden = 2560, kInner = 9728, kHeads = 32,
                       kKvHeads = 8, kDim = 128, kLayers = 36, kVocabulary = 151936, kTileWords = 32768;

template <class T>
T* at_(const at::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

class TrainRates {
 public:
  explicit TrainRates(const Context& context)
      : context_(context), options_(at::TensorOptions().dtype(at::kBFloat16).device(at::kCUDA)) {}

  nlohmann::json run() {
    elementwise();
    entropy();
    gradients();
    attention();
    products();
    return std::move(rows_);
  }

 private:
  at::Tensor random(at::IntArrayRef shape) const { return at::randn(shape, options_); }
  at::Tensor floats(std::int64_t n) const { return at::zeros({n}, options_.dtype(at::kFloat)); }

  // bytes: that the work must read and write. per_step: how often a step runs it.
  void bytes_row(const std::string& what, double bytes, double per_step, const std::function<void()>& work) {
    const double ms = median_ms(context_.stream, work);
    rows_.push_back({{"what", what},
                     {"ms", ms},
                     {"gb_s", bytes / ms / 1e6},
                     {"share_of_copy", bytes / (ms * 1e-3) / context_.copy_rate},
                     {"per_step", per_step},
                     {"ms_of_a_step", ms * per_step}});
  }
  void flop_row(const std::string& what, double flop, double per_step, const std::function<void()>& work) {
    const double ms = median_ms(context_.stream, work);
    rows_.push_back({{"what", what},
                     {"ms", ms},
                     {"tflop_s", flop / ms / 1e9},
                     {"per_step", per_step},
                     {"ms_of_a_step", ms * per_step}});
  }

  void elementwise() {
    namespace kernels = ops::cuda;
    const double hidden = 2.0 * kTokens * kHidden, inner = 2.0 * kTokens * kInner,
                 heads = 2.0 * kTokens * (kHeads + kKvHeads) * kDim;
    const at::Tensor x = random({kTokens, kHidden}), y = random({kTokens, kHidden}), w = random({kHidden}),
                     out = at::empty_like(x), sum = at::empty_like(x);
    bytes_row("rms_norm", 2 * hidden, 2 * kLayers + 1, [&] {
      kernels::add_rms_norm<Bf16>(at_<Bf16>(x), nullptr, at_<Bf16>(w), 1e-6, kTokens, kHidden, nullptr,
                                  at_<Bf16>(out), context_.stream);
    });
    bytes_row("add and rms_norm", 4 * hidden, 2 * kLayers, [&] {
      kernels::add_rms_norm<Bf16>(at_<Bf16>(x), at_<Bf16>(y), at_<Bf16>(w), 1e-6, kTokens, kHidden,
                                  at_<Bf16>(sum), at_<Bf16>(out), context_.stream);
    });
    const at::Tensor dweight = floats(kHidden),
                     space = floats(kernels::norm_backward_workspace(kTokens, kHidden));
    bytes_row("rms_norm backward and add", 4 * hidden, 2 * kLayers + 1, [&] {
      kernels::rms_norm_backward<Bf16>(at_<Bf16>(y), at_<Bf16>(x), at_<Bf16>(w), at_<Bf16>(sum), 1e-6,
                                       kTokens, kHidden, at_<Bf16>(out), at_<float>(dweight),
                                       at_<float>(space), context_.stream);
    });
    const at::Tensor gate = random({kTokens, kInner}), up = random({kTokens, kInner}),
                     dh = random({kTokens, kInner});
    bytes_row("silu(gate) * up", 3 * inner, kLayers, [&] {
      kernels::silu_mul<Bf16>(at_<Bf16>(gate), at_<Bf16>(up), gate.numel(), at_<Bf16>(dh), context_.stream);
    });
    bytes_row("silu(gate) * up backward", 6 * inner, kLayers, [&] {
      kernels::silu_mul_backward<Bf16>(at_<Bf16>(dh), at_<Bf16>(gate), at_<Bf16>(up), gate.numel(),
                                       context_.stream);
    });
    const at::Tensor q = random({kTokens, kHeads, kDim}), k = random({kTokens, kKvHeads, kDim}),
                     q_out = at::empty_like(q), k_out = at::empty_like(k),
                     dq = random({kTokens, kHeads, kDim}), dk = random({kTokens, kKvHeads, kDim}),
                     weight = random({kDim}), table = random({kWidth, kDim / 2});
    const at::Tensor positions = at::arange(kTokens, options_.dtype(at::kLong)).remainder(kWidth);
    const at::Tensor dq_weight = floats(kDim), dk_weight = floats(kDim),
                     rope_space = floats(kernels::rope_rows_workspace(kDim));
    kernels::RopeRows a;
    a.tokens = kTokens;
    a.heads = kHeads;
    a.kv_heads = kKvHeads;
    a.dim = kDim;
    a.q = q.const_data_ptr();
    a.k = k.const_data_ptr();
    a.q_weight = a.k_weight = weight.const_data_ptr();
    a.eps = 1e-6;
    a.cos = a.sin = table.const_data_ptr();
    a.positions = at_<std::int64_t>(positions);
    a.q_out = q_out.mutable_data_ptr();
    a.k_out = k_out.mutable_data_ptr();
    a.dq = dq.const_data_ptr();
    a.dk = dk.const_data_ptr();
    a.dq_weight = at_<float>(dq_weight);
    a.dk_weight = at_<float>(dk_weight);
    a.workspace = at_<float>(rope_space);
    bytes_row("q, k norm and rotation", 2 * heads, 2 * kLayers,
              [&] { kernels::rope_rows<Bf16>(a, context_.stream); });
    bytes_row("q, k norm and rotation backward", 3 * heads, kLayers,
              [&] { kernels::rope_rows_backward<Bf16>(a, context_.stream); });
  }

  void entropy() {
    const at::Tensor logits = random({kTokens, kTileWords}), largest = floats(kTokens), sum = floats(kTokens),
                     at_target = floats(kTokens);
    const at::Tensor targets = at::randint(kTileWords, {kTokens}, options_.dtype(at::kLong));
    const double bytes = 2.0 * kTokens * kTileWords, tiles = static_cast<double>(kVocabulary) / kTileWords;
    bytes_row("cross entropy of a tile", bytes, tiles, [&] {
      ops::cuda::cross_entropy_observe<Bf16>(at_<Bf16>(logits), kTokens, kTileWords,
                                             at_<std::int64_t>(targets), 0, at_<float>(largest),
                                             at_<float>(sum), at_<float>(at_target), context_.stream);
    });
    bytes_row("its gradient", 2 * bytes, tiles, [&] {
      ops::cuda::cross_entropy_gradient<Bf16>(at_<Bf16>(logits), kTokens, kTileWords,
                                              at_<std::int64_t>(targets), 0, at_<float>(largest),
                                              at_<float>(sum), 1e-4F, context_.stream);
    });
    const at::Tensor x = random({kTokens, kHidden}), w = random({kTileWords, kHidden}),
                     dw = at::empty_like(w);
    at::Tensor y = at::empty_like(logits), dx = at::empty_like(x), rows = dw;
    const double flop = 2.0 * kTokens * kTileWords * kHidden;
    flop_row("head, a tile of words: logits", flop, 2 * tiles, [&] { at::mm_out(y, x, w.t()); });
    flop_row("head, a tile of words: dX", flop, tiles, [&] { at::mm_out(dx, logits, w); });
    flop_row("head, a tile of words: dW", flop, tiles, [&] { at::mm_out(rows, logits.t(), x); });
  }

  // A layer's weights are four shapes; gate stands for all of them, by its share of the elements.
  void gradients() {
    const double elements = static_cast<double>(kInner) * kHidden, layer = 100925440.0 / elements;
    const at::Tensor dw = random({kInner, kHidden}),
                     codes = at::zeros({kInner, kHidden / 2}, options_.dtype(at::kByte)),
                     lo = at::zeros_like(codes), scales = at::ones({kInner, kHidden / 16}, codes.options()),
                     norm = floats(4), parts = at::zeros({ops::cuda::measure_workspace()}, codes.options());
    auto* const global = reinterpret_cast<nvfp4::GlobalScale*>(at_<float>(norm) + 2);
    const nvfp4::EncodeOptions options;
    bytes_row("norm and scale of a gradient", 2 * elements, layer * kLayers, [&] {
      ops::cuda::measure<Bf16>(at_<Bf16>(dw), dw.numel(), options, at_<float>(norm), global,
                               parts.mutable_data_ptr(), context_.stream);
    });
    bytes_row("a gradient to NVFP4", 2.5625 * elements, layer * kLayers, [&] {
      nvfp4::cuda::quantize(at_<Bf16>(dw), kInner, kHidden, kHidden, global, options,
                            at_<std::uint8_t>(codes), at_<std::uint8_t>(scales), {}, context_.stream);
    });
    nvfp4::PlanesView planes;
    planes.codes = at_<std::uint8_t>(codes);
    planes.scales = at_<std::uint8_t>(scales);
    planes.lo = at_<std::uint8_t>(lo);
    bytes_row("hi + lo to bf16", 3.0625 * elements, layer * kLayers * 3, [&] {
      nvfp4::cuda::dequantize_planes(planes, 1.0F, nvfp4::PlaneValue::exact, kInner, kHidden, at_<Bf16>(dw),
                                     context_.stream);
    });
  }

  void attention() {
    const std::int64_t documents = kTokens / kWidth;
    const double flop = 2.0 * kTokens * kWidth * kHeads * kDim;  // both products, half of them masked
    const at::Tensor q = random({kTokens, kHeads, kDim}), k = random({kTokens, kKvHeads, kDim}),
                     v = random({kTokens, kKvHeads, kDim}), dout = random({kTokens, kHeads, kDim});
    const double scale = 1.0 / std::sqrt(static_cast<double>(kDim));
    {
      const at::Tensor starts = at::arange(documents + 1, options_.dtype(at::kInt)).mul(kWidth);
      at::Tensor out, lse, seed, offset, debug;
      flop_row("attention, flash, forward", flop, 2 * kLayers, [&] {
        std::tie(out, lse, seed, offset, debug) =
            at::_flash_attention_forward(q, k, v, starts, starts, kWidth, kWidth, 0.0, true, false, scale);
      });
      flop_row("attention, flash, backward", 2.5 * flop, kLayers, [&] {
        at::_flash_attention_backward(dout, q, k, v, out, lse, starts, starts, kWidth, kWidth, 0.0, true,
                                      seed, offset, scale);
      });
    }
    try {
      const auto batched = [](const at::Tensor& x) {
        return x.view({-1, kWidth, x.size(1), kDim}).transpose(1, 2);
      };
      at::Tensor out, lse, seed, offset;
      flop_row("attention, cuDNN, forward", flop, 2 * kLayers, [&] {
        const auto got = at::_scaled_dot_product_cudnn_attention(batched(q), batched(k), batched(v), {}, true,
                                                                 0.0, true, false, scale);
        out = std::get<0>(got);
        lse = std::get<1>(got);
        seed = std::get<6>(got);
        offset = std::get<7>(got);
      });
      flop_row("attention, cuDNN, backward", 2.5 * flop, kLayers, [&] {
        at::_scaled_dot_product_cudnn_attention_backward(batched(dout), batched(q), batched(k), batched(v),
                                                         out, lse, seed, offset, {}, {}, {}, kWidth, kWidth,
                                                         0.0, true, scale);
      });
    } catch (const std::exception& e) {
      rows_.push_back({{"what", "attention, cuDNN"}, {"error", std::string(e.what()).substr(0, 300)}});
    }
  }

  // y = x W', dX = dy W and dW = dy' x of one weight, or of weights that share x as one: how often a layer
  // has each. A step does it one by one or together, not both.
  void linear(const std::string& name, std::int64_t n, std::int64_t k, double forwards, double backwards) {
    const at::Tensor x = random({kTokens, k}), w = random({n, k}), dy = random({kTokens, n});
    at::Tensor y = at::empty({kTokens, n}, options_), dx = at::empty_like(x), dw = at::empty_like(w);
    const double flop = 2.0 * kTokens * static_cast<double>(n) * static_cast<double>(k);
    flop_row(name + ": forward", flop, forwards * kLayers, [&] { at::mm_out(y, x, w.t()); });
    flop_row(name + ": dX", flop, backwards * kLayers, [&] { at::mm_out(dx, dy, w); });
    flop_row(name + ": dW", flop, backwards * kLayers, [&] { at::mm_out(dw, dy.t(), x); });
  }
  void products() {
    linear("q", kHeads * kDim, kHidden, 2, 1);
    linear("k or v", kKvHeads * kDim, kHidden, 4, 2);
    linear("q, k, v together", (kHeads + 2 * kKvHeads) * kDim, kHidden, 2, 1);
    linear("o", kHidden, kHeads * kDim, 2, 1);
    linear("gate or up", kInner, kHidden, 4, 2);
    linear("gate, up together", 2 * kInner, kHidden, 2, 1);
    linear("down", kHidden, kInner, 1, 1);
  }

  const Context& context_;
  at::TensorOptions options_;
  nlohmann::json rows_ = nlohmann::json::array();
};

}  // namespace

nlohmann::json train_rates(const Context& context) {
  const c10::cuda::CUDAStreamGuard on_stream(c10::cuda::getStreamFromExternal(context.stream, 0));
  return TrainRates(context).run();
}

}  // namespace tetrad::bench
