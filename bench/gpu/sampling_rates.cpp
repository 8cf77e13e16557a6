// Choosing a token on the device among a Qwen3 vocabulary's logits, and what the choice replaces: the copy of
// the row to the host.
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench.h"
#include "ops/cuda/kernels.h"

namespace tetrad::bench {

nlohmann::json sampling_rates(const Context& context) {
  const std::int64_t n = 151936;
  std::mt19937 rng(7);
  std::normal_distribution<float> normal(0.0F, 2.5F);
  std::vector<float> host(static_cast<std::size_t>(n));
  for (float& v : host) v = normal(rng);
  for (int i = 0; i < 40; ++i) host[rng() % host.size()] = 10.0F + normal(rng);
  const std::size_t bytes = host.size() * sizeof(float);
  const Buffer logits(bytes), seen(host.size()), out(sizeof(ops::cuda::Sampled));
  check(cudaMemcpy(logits.as<float>(), host.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  check(cudaMemset(seen.as<void>(), 0, host.size()), "cudaMemset");
  check(cudaMemset(seen.as<void>(), 1, 4096), "cudaMemset");
  nlohmann::json rows = nlohmann::json::array();
  const auto row = [&](const char* what, double temperature, std::int64_t top_k, double top_p,
                       double penalty) {
    ops::cuda::Sampling sampling;
    sampling.rule.scale = temperature > 0.0 ? std::log2(std::exp(1.0)) / temperature : 0.0;
    sampling.rule.top_k = top_k;
    sampling.rule.top_p = top_p < 1.0 ? static_cast<std::uint64_t>(top_p * 0x1p64) : 0;
    sampling.rule.penalty = penalty;
    sampling.bits = 0x123456789ABCDEFULL;
    sampling.seen = penalty != 1.0 ? seen.as<std::uint8_t>() : nullptr;
    const double ms = median_ms(context.stream, [&] {
      ops::cuda::sample(logits.as<float>(), n, sampling, out.as<ops::cuda::Sampled>(), context.stream);
    });
    ops::cuda::Sampled got;
    check(cudaMemcpy(&got, out.as<void>(), sizeof got, cudaMemcpyDeviceToHost), "cudaMemcpy");
    rows.push_back({{"what", what}, {"us", ms * 1e3}, {"served", got.served != 0}});
  };
  row("greedy, repetition penalty", 0.0, 0, 1.0, 1.1);
  row("temperature 1", 1.0, 0, 1.0, 1.0);
  row("temperature 0.6, top_k 20, top_p 0.95", 0.6, 20, 0.95, 1.0);
  row("the same, repetition penalty", 0.6, 20, 0.95, 1.1);
  row("temperature 0.7, top_p 0.8", 0.7, 0, 0.8, 1.0);
  const double ms = median_ms(context.stream, [&] {
    check(cudaMemcpyAsync(host.data(), logits.as<float>(), bytes, cudaMemcpyDeviceToHost, context.stream),
          "copy");
  });
  rows.push_back({{"what", "copy of the row to pageable memory"}, {"us", ms * 1e3}});
  return rows;
}

}  // namespace tetrad::bench
