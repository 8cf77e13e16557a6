#include "ops/cuda/sample.cuh"

namespace tetrad::ops::cuda {

void sample(const float* logits, std::int64_t n, const Sampling& sampling, Sampled* out, Stream stream) {
  if (n < 1 || n > kMaxSampled || sampling.rule.top_k < 0 || sampling.rule.top_k > kMaxTopK)
    throw Error("[ops] a sample of " + std::to_string(n) + " logits with top_k " +
                std::to_string(sampling.rule.top_k));
  sample_kernel<<<1, kSampleThreads, 0, stream>>>(Row{logits, n, sampling.seen, sampling.rule.penalty},
                                                  sampling.rule, sampling.bits, out);
  check_launch("sample");
}

}  // namespace tetrad::ops::cuda
