// CudaOps in libtetrad_cuda.so: tensors to pointers.
#include "device/cuda_ops.h"

#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <tetrad/base/error.h>
#include <tetrad/nvfp4/cuda.h>

#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "ops/cuda/cuda_train_ops.h"
#include "ops/cuda/kernels.h"
#include "ops/cuda/tensor_args.h"

namespace tetrad::device {
namespace {

namespace kernels = ops::cuda;

// Kernels of the graph that `stream` is capturing.
std::int64_t captured_kernels(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaGraph_t graph = nullptr;
  check(cudaStreamGetCaptureInfo(stream, &status, nullptr, &graph, nullptr, nullptr, nullptr), "a capture");
  std::size_t count = 0;
  if (graph == nullptr) return 0;
  check(cudaGraphGetNodes(graph, nullptr, &count), "the nodes of a graph");
  std::vector<cudaGraphNode_t> nodes(count);
  check(cudaGraphGetNodes(graph, nodes.data(), &count), "the nodes of a graph");
  std::int64_t kernels = 0;
  for (const cudaGraphNode_t node : nodes) {
    cudaGraphNodeType type{};
    check(cudaGraphNodeGetType(node, &type), "a node of a graph");
    kernels += type == cudaGraphNodeTypeKernel ? 1 : 0;
  }
  return kernels;
}

class CapturedGraph final : public Graph {
 public:
  CapturedGraph(const c10::cuda::CUDAStream& own, const std::function<void()>& work) : device_(own.device()) {
    const c10::cuda::CUDAGuard on(device_);
    check(cudaDeviceSynchronize(), "before a capture");
    const c10::cuda::CUDAStreamGuard stream(own);
    work();  // handles and workspaces of libraries are made now
    stream.current_stream().synchronize();
    graph_.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
      kernels_ = captured_kernels(own.stream());
    } catch (...) {
      try {
        graph_.capture_end();
      } catch (...) {  // the first error is the one to tell
      }
      throw;
    }
    graph_.capture_end();
    check(cudaDeviceSynchronize(), "after a capture");
  }
  void replay() override {
    const c10::cuda::CUDAGuard on(device_);
    graph_.replay();
  }
  std::int64_t kernels() const noexcept override { return kernels_; }

 private:
  at::Device device_;
  std::int64_t kernels_ = 0;
  at::cuda::CUDAGraph graph_;
};

class TorchCudaOps final : public CudaOps {
 public:
  void rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y) override {
    const c10::cuda::CUDAGuard on(x.device());
    const std::int64_t n = weight.size(0);
    with_type(x, [&](auto* tag) {
      using T = std::remove_pointer_t<decltype(tag)>;
      kernels::add_rms_norm<T>(read_as<T>(x), nullptr, read_as<T>(weight), eps, x.numel() / n, n, nullptr,
                               write_as<T>(y), stream_of(x));
    });
  }

  void add_rms_norm(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps,
                    const at::Tensor& sum, const at::Tensor& y) override {
    const c10::cuda::CUDAGuard on(x.device());
    const std::int64_t n = weight.size(0);
    with_type(x, [&](auto* tag) {
      using T = std::remove_pointer_t<decltype(tag)>;
      kernels::add_rms_norm<T>(read_as<T>(x), read_as<T>(delta), read_as<T>(weight), eps, x.numel() / n, n,
                               write_as<T>(sum), write_as<T>(y), stream_of(x));
    });
  }

  void silu_mul(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& out) override {
    const c10::cuda::CUDAGuard on(gate.device());
    with_type(gate, [&](auto* tag) {
      using T = std::remove_pointer_t<decltype(tag)>;
      kernels::silu_mul<T>(read_as<T>(gate), read_as<T>(up), gate.numel(), write_as<T>(out), stream_of(gate));
    });
  }

  void rotate(const Rotation& r) override {
    const c10::cuda::CUDAGuard on(r.q.device());
    kernels::QkNormRope a;
    a.q = r.q.const_data_ptr();
    a.k = r.k.const_data_ptr();
    a.q_stride = r.q.stride(0);
    a.k_stride = r.k.stride(0);
    a.tokens = r.q.size(0);
    a.heads = r.q.size(1);
    a.kv_heads = r.k.size(1);
    a.dim = r.q.size(2);
    a.q_weight = r.q_weight.defined() ? r.q_weight.const_data_ptr() : nullptr;
    a.k_weight = r.k_weight.defined() ? r.k_weight.const_data_ptr() : nullptr;
    a.eps = r.eps;
    a.cos = r.cos.const_data_ptr();
    a.sin = r.sin.const_data_ptr();
    a.begin = {read_as<std::int64_t>(r.position), r.begin};
    a.q_out = r.q_out.mutable_data_ptr();
    a.k_out = r.k_out.mutable_data_ptr();
    if (r.v_out.defined()) {  // [kv_heads, slots, dim]
      a.v = r.v.const_data_ptr();
      a.v_stride = r.v.stride(0);
      a.v_out = r.v_out.mutable_data_ptr();
      a.out_head_stride = r.k_out.stride(0);
      a.out_token_stride = r.k_out.stride(1);
      a.to_slots = true;
    } else {  // [tokens, kv_heads, dim]
      a.out_head_stride = r.k_out.stride(1);
      a.out_token_stride = r.k_out.stride(0);
    }
    with_type(r.q, [&](auto* tag) {
      kernels::qk_norm_rope<std::remove_pointer_t<decltype(tag)>>(a, stream_of(r.q));
    });
  }

  bool takes_decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override {
    const auto rows = [](const at::Tensor& t) {
      return t.stride(2) == 1 && t.stride(0) % 8 == 0 && t.stride(1) % 8 == 0 &&
             reinterpret_cast<std::uintptr_t>(t.const_data_ptr()) % 16 == 0;
    };
    return q.size(0) == 1 && k.size(1) >= 1 && k.scalar_type() == q.scalar_type() &&
           v.scalar_type() == q.scalar_type() && rows(k) && rows(v) &&
           kernels::takes_decode_attention(q.size(1), k.size(0), q.size(2));
  }

  void decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                        const at::Tensor& position, const at::Tensor& out) override {
    const c10::cuda::CUDAGuard on(q.device());
    kernels::DecodeAttention a;
    a.q = q.const_data_ptr();
    a.k = k.const_data_ptr();
    a.v = v.const_data_ptr();
    a.heads = q.size(1);
    a.kv_heads = k.size(0);
    a.dim = q.size(2);
    a.k_head_stride = k.stride(0);
    a.k_token_stride = k.stride(1);
    a.v_head_stride = v.stride(0);
    a.v_token_stride = v.stride(1);
    a.length = position.defined() ? kernels::Count{read_as<std::int64_t>(position), 1}
                                  : kernels::Count{nullptr, k.size(1)};
    a.scale = static_cast<float>(scale);
    a.out = out.mutable_data_ptr();
    a.workspace = workspace(attention_, q.device(), kernels::decode_attention_workspace(a.heads, a.dim));
    with_type(q, [&](auto* tag) {
      kernels::decode_attention<std::remove_pointer_t<decltype(tag)>>(a, stream_of(q));
    });
  }

  at::Tensor quantize_nvfp4(const at::Tensor& values, const at::Tensor& codes,
                            const at::Tensor& scales) override {
    const c10::cuda::CUDAGuard guard(values.device());
    const at::Tensor space = at::zeros({3}, values.options().dtype(at::kFloat));  // encode, decode, amax
    auto* const words = static_cast<float*>(space.mutable_data_ptr());
    auto* const global = reinterpret_cast<nvfp4::GlobalScale*>(words);
    auto* const largest = reinterpret_cast<std::uint32_t*>(words + 2);
    const std::int64_t rows = values.size(0), cols = values.size(1);
    const nvfp4::EncodeOptions options;
    const auto encode = [&](auto* tag) {
      using T = std::remove_pointer_t<decltype(tag)>;
      const T* from = read_as<T>(values);
      nvfp4::cuda::amax(from, rows, cols, cols, largest, stream_of(values));
      nvfp4::cuda::global_scale(largest, options, global, stream_of(values));
      nvfp4::cuda::quantize(from, rows, cols, cols, global, options,
                            static_cast<std::uint8_t*>(codes.mutable_data_ptr()),
                            static_cast<std::uint8_t*>(scales.mutable_data_ptr()), {}, stream_of(values));
    };
    if (values.scalar_type() == at::kFloat)
      encode(static_cast<float*>(nullptr));
    else
      with_type(values, encode);
    return space.narrow(0, 1, 1);
  }

  Best best(const at::Tensor& values) override {
    const c10::cuda::CUDAGuard on(values.device());
    const std::int64_t bytes = (kernels::kBestBlocks + 2) * static_cast<std::int64_t>(sizeof(kernels::Best));
    auto* space = static_cast<kernels::Best*>(workspace(best_, values.device(), bytes));
    kernels::best_of(read_as<float>(values), values.numel(), space + kernels::kBestBlocks + 1, space,
                     stream_of(values));
    kernels::Best best;
    check(cudaMemcpyAsync(&best, space + kernels::kBestBlocks + 1, sizeof best, cudaMemcpyDeviceToHost,
                          stream_of(values)),
          "argmax");
    check(cudaStreamSynchronize(stream_of(values)), "argmax");
    return {best.id, best.finite != 0, best.top1, best.top2};
  }

  bool takes_sampling(std::int64_t n, const ops::SamplingRule& rule) const noexcept override {
    return n >= 1 && n <= ops::kMaxSampled && rule.top_k <= kernels::kMaxTopK;
  }

  Sampled sample(const at::Tensor& logits, const ops::SamplingRule& rule, std::uint64_t bits,
                 const at::Tensor& seen) override {
    const c10::cuda::CUDAGuard on(logits.device());
    const cudaStream_t stream = stream_of(logits);
    auto* out = static_cast<kernels::Sampled*>(
        workspace(sampled_, logits.device(), static_cast<std::int64_t>(sizeof(kernels::Sampled))));
    kernels::Sampling sampling;
    sampling.rule = rule;
    sampling.bits = bits;
    sampling.seen = read_as<std::uint8_t>(seen);
    kernels::sample(read_as<float>(logits), logits.numel(), sampling, out, stream);
    kernels::Sampled sampled;
    check(cudaMemcpyAsync(&sampled, out, sizeof sampled, cudaMemcpyDeviceToHost, stream), "sampling");
    check(cudaStreamSynchronize(stream), "sampling");
    const kernels::Best& best = sampled.best;
    return {{best.id, best.finite != 0, best.top1, best.top2}, sampled.served != 0};
  }

  CudaTrainOps& training() noexcept override { return training_; }

  std::unique_ptr<Graph> capture(const at::Device& device, const std::function<void()>& work) override {
    const auto index = static_cast<c10::DeviceIndex>(device.has_index() ? device.index() : 0);
    const auto found = capture_streams_.find(index);
    const c10::cuda::CUDAStream stream =
        found != capture_streams_.end()
            ? found->second
            : capture_streams_.emplace(index, c10::cuda::getStreamFromPool(false, index)).first->second;
    return std::make_unique<CapturedGraph>(stream, work);
  }

 private:
  using Workspaces = std::map<int, at::Tensor>;  // by device
  std::map<c10::DeviceIndex, c10::cuda::CUDAStream> capture_streams_;

  // Zeroed when it is made; the kernels leave their counters at zero. A larger one takes a smaller one's
  // place, which stays alive: a captured graph may hold it.
  void* workspace(Workspaces& spaces, const at::Device& device, std::int64_t bytes) {
    at::Tensor& space = spaces[device.index()];
    if (!space.defined() || space.numel() < bytes) {
      if (space.defined()) outgrown_.push_back(space);
      space = at::zeros({bytes}, at::TensorOptions().dtype(at::kByte).device(device));
    }
    return space.mutable_data_ptr();
  }

  TorchCudaTrainOps training_;
  Workspaces attention_, best_, sampled_;
  std::vector<at::Tensor> outgrown_;
};

}  // namespace
}  // namespace tetrad::device

extern "C" [[gnu::visibility("default")]] tetrad::device::CudaOps* tetrad_cuda_ops_v1() noexcept {
  // Leaked: its tensors must not be freed after libtorch's own end.
  static auto* const ops = new tetrad::device::TorchCudaOps;
  return ops;
}
