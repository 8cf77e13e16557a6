// CudaOps: the kernels of core/ops on a CUDA device, behind tensors. They live in libtetrad_cuda.so, which is
// loaded when a run uses a CUDA device; on a machine without one cuda_ops() is null and nothing of CUDA is
// present. Every tensor is on one device; work is enqueued on its current stream. What the operations compute
// is said in core/ops, which calls them. 16-bit dtypes alone: others run as libtorch operations there.
#pragma once

#include "device/cuda_train_ops.h"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "ops/sampling.h"

namespace tetrad::device {

// Queries, keys and values of new tokens on their way to attention. All are [tokens, heads, dim], rows of
// heads contiguous.
struct Rotation {
  at::Tensor q, k;
  at::Tensor q_weight, k_weight;  // [dim], or undefined: no norm
  double eps = 0.0;
  at::Tensor cos, sin;      // [positions, dim / 2] in q's dtype, contiguous
  std::int64_t begin = 0;   // position of the first token, added to
  at::Tensor position;      // int64 [1] on the device, or undefined
  at::Tensor q_out;         // [tokens, heads, dim]
  at::Tensor k_out, v_out;  // [kv_heads, slots, dim]: slot = position; or k_out like k and v_out undefined
  at::Tensor v;             // with v_out
};

struct Best {
  std::int64_t id = 0;
  bool finite = true;  // of all values; if not, the rest means nothing
  float top1 = 0.0F, top2 = 0.0F;
};

// A chosen token: best.id, with the two largest scores after the penalty. Not served: the choice is the
// host's.
struct Sampled {
  Best best;
  bool served = true;
};

// Work captured once and replayed; it keeps the memory that the work allocated.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void replay() = 0;
  // Kernels that one replay launches.
  virtual std::int64_t kernels() const noexcept = 0;
};

class CudaOps {
 public:
  virtual ~CudaOps() = default;

  virtual void rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y) = 0;
  virtual void add_rms_norm(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight,
                            double eps, const at::Tensor& sum, const at::Tensor& y) = 0;
  virtual void silu_mul(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& out) = 0;
  virtual void rotate(const Rotation& rotation) = 0;

  // q [1, heads, dim], k and v [kv_heads, S, dim] strided.
  virtual bool takes_decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) = 0;
  // out [1, heads * dim]. With `position` (int64 [1] on the device) the keys are those up to and including
  // it, otherwise all.
  virtual void decode_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                                const at::Tensor& position, const at::Tensor& out) = 0;

  // One NVFP4 plane of a contiguous matrix [N, K] of fp32, bf16 or fp16, rounded to nearest, with a
  // power-of-two global scale from its own amax: codes uint8 [N, Kp / 2], scales uint8 [N, Kp / 16]. Returns
  // the decode scale, fp32 [1] on the device; nothing waits for it.
  virtual at::Tensor quantize_nvfp4(const at::Tensor& values, const at::Tensor& codes,
                                    const at::Tensor& scales) = 0;

  // The largest of fp32 values [n], lowest index first; waits for the device.
  virtual Best best(const at::Tensor& values) = 0;

  // The token that generate::Sampler chooses from fp32 logits [n] by `rule` and the bits of a draw; seen,
  // uint8 [n] or undefined, says what the penalty applies to. Waits for the device.
  virtual bool takes_sampling(std::int64_t n, const ops::SamplingRule& rule) const noexcept = 0;
  virtual Sampled sample(const at::Tensor& logits, const ops::SamplingRule& rule, std::uint64_t bits,
                         const at::Tensor& seen) = 0;

  // What training needs besides.
  virtual CudaTrainOps& training() noexcept = 0;

  // Runs `work` once for warming up and once under capture, on a stream kept for it: libraries hold a
  // workspace for each stream that they have seen. `work` must not synchronise.
  virtual std::unique_ptr<Graph> capture(const at::Device& device, const std::function<void()>& work) = 0;
};

// Null until a CUDA device was chosen (choose.h).
CudaOps* cuda_ops() noexcept;

// The second function that libtetrad_cuda.so exports.
inline constexpr const char* kCudaOpsEntry = "tetrad_cuda_ops_v1";
using CudaOpsEntry = CudaOps* (*)() noexcept;

// The third: the share of device `index` that libtorch's caching allocator may hold. False with the reason in
// `why`.
inline constexpr const char* kCapMemoryEntry = "tetrad_cap_memory_v1";
using CapMemoryEntry = bool (*)(int index, double fraction, std::string& why) noexcept;

// cuda_ops(), where these kernels take this tensor: on a CUDA device, contiguous, 16 bits an element.
CudaOps* cuda_ops_for(const at::Tensor& t) noexcept;

}  // namespace tetrad::device
