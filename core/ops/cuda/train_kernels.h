// The CUDA kernels of a training step besides its products and its attention, with plain device pointers.
// T is nvfp4::Bf16 or nvfp4::Fp16; they round where the CPU's at:: operations round (train_math.h). Every sum
// has one order for a given device, so a repetition gives the same bits. All only enqueue on `stream` of the
// current device, and throw tetrad::Error(runtime) when a launch is refused. Rows are dense and 16-byte
// aligned.
#pragma once

#include <tetrad/nvfp4/codec.h>

#include "ops/cuda/kernels.h"

namespace tetrad::ops::cuda {

// Rows of n elements that rms_norm_backward takes: multiples of 8 up to 8192.
bool takes_norm_backward(std::int64_t n);
// Floats of its workspace.
std::int64_t norm_backward_workspace(std::int64_t rows, std::int64_t n);
// dx = T(dx of the norm) [+ passing, rounded again], dweight [n] = sum over rows; dy, x, passing (or null),
// dx [rows, n]. dx may be dy or passing.
template <class T>
void rms_norm_backward(const T* dy, const T* x, const T* weight, const T* passing, double eps,
                       std::int64_t rows, std::int64_t n, T* dx, float* dweight, float* workspace,
                       Stream stream);

// In place: dh becomes silu(gate) * up, gate dgate and up dup; n elements each.
template <class T>
void silu_mul_backward(T* dh, T* gate, T* up, std::int64_t n, Stream stream);

// Heads of 64, 128 or 256 elements. q and k with their gradients: [tokens, heads, dim], dense.
bool takes_rope_rows(std::int64_t dim);
struct RopeRows {
  std::int64_t tokens = 0, heads = 0, kv_heads = 0, dim = 0;
  const void *q = nullptr, *k = nullptr;                // of T, before norm and rotation
  const void *q_weight = nullptr, *k_weight = nullptr;  // [dim] of T; null: no norm
  double eps = 0.0;
  const void *cos = nullptr, *sin = nullptr;  // [positions, dim / 2] of T
  const std::int64_t* positions = nullptr;    // [tokens]
  // Forward: where q and k go. Backward: gradients of what the forward made, and where those of q and k go.
  void *q_out = nullptr, *k_out = nullptr;
  const void *dq = nullptr, *dk = nullptr;
  float *dq_weight = nullptr, *dk_weight = nullptr;  // [dim]; for the weights that are not null
  float* workspace = nullptr;                        // rope_rows_workspace() floats
};
template <class T>
void rope_rows(const RopeRows& args, Stream stream);
std::int64_t rope_rows_workspace(std::int64_t dim);
template <class T>
void rope_rows_backward(const RopeRows& args, Stream stream);

// Logits [rows, n] of the words [first, first + n). Each row's running maximum, sum of exponentials and
// target's logit take in this tile.
template <class T>
void cross_entropy_observe(const T* logits, std::int64_t rows, std::int64_t n, const std::int64_t* targets,
                           std::int64_t first, float* largest, float* sum, float* at_target, Stream stream);
// The logits become d(scale * loss) / d(logits).
template <class T>
void cross_entropy_gradient(T* logits, std::int64_t rows, std::int64_t n, const std::int64_t* targets,
                            std::int64_t first, const float* largest, const float* sum, float scale,
                            Stream stream);

// Of n values of float, Bf16 or Fp16: *norm = sqrt(sum of squares), NaN or infinite when a value is, and
// *global = global_scale(max |x| over the finite ones).
std::int64_t measure_workspace();  // bytes
template <class T>
void measure(const T* values, std::int64_t n, const nvfp4::EncodeOptions& options, float* norm,
             nvfp4::GlobalScale* global, void* workspace, Stream stream);

}  // namespace tetrad::ops::cuda
