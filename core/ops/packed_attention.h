// Causal grouped-query attention within the documents of packed training rows, and its gradient. A document
// is a run of consecutive tokens; a token sees itself and the tokens before it in its own document, nothing
// else. The forward keeps the log-sum-exp of each query's scores, from which the backward rebuilds the
// probabilities, so no [T, T] tensor outlives a document.
//
// Kernels: libtorch's flash attention where it takes dtype and device (CPU; CUDA for 16-bit dtypes, where all
// documents go in one call, of whatever lengths, and keys and values are not repeated for their query heads),
// else the plain formula. On CUDA the flash backward is deterministic only when libtorch's deterministic
// algorithms are on; when they are not, documents of one length that is a multiple of 128 (windows of a text)
// go through cuDNN's attention. TETRAD_TRAIN_ATTENTION in the environment: `cudnn` for any one length,
// `flash` for never.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace tetrad::ops {

// Tokens [begin, begin + length) of the packed rows.
struct Segment {
  std::int64_t begin = 0, length = 0;
};

// What a forward of these documents needs on the device, made once a batch.
struct PackedDocuments {
  std::vector<Segment> segments;  // in order, covering [0, tokens) without gaps
  std::int64_t tokens = 0, longest = 0;
  bool uniform = true;  // all have one length
  at::Tensor starts;    // int32 [documents + 1] on the device: cumulative lengths

  static PackedDocuments make(std::vector<Segment> segments, at::Device device);
};

struct Attended {
  at::Tensor out;  // [T, heads, head_dim]
  at::Tensor
      lse;  // fp32 [heads, T]: log(sum(exp(scale * q . k))) of each query; on CUDA as its kernel lays it out
  at::Tensor seed, offset;  // of the CUDA kernel, which wants them back
  bool by_cudnn = false;    // whose log-sum-exp it is
};
struct AttentionGradient {
  at::Tensor dq, dk, dv;  // as q, k, v
};

// q [T, heads, head_dim], k and v [T, kv_heads, head_dim]; heads % kv_heads == 0, one dtype and device.
Attended packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale,
                          const PackedDocuments& documents);
AttentionGradient packed_attention_backward(const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
                                            const at::Tensor& v, const Attended& attended, double scale,
                                            const PackedDocuments& documents);

// The plain formula, in fp32 (fp64 for fp64 tensors), document by document.
Attended packed_attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    double scale, const PackedDocuments& documents);
AttentionGradient packed_attention_backward_reference(const at::Tensor& dout, const at::Tensor& q,
                                                      const at::Tensor& k, const at::Tensor& v,
                                                      const Attended& attended, double scale,
                                                      const PackedDocuments& documents);

}  // namespace tetrad::ops
