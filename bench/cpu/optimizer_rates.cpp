// tetrad_cpu_optimizer_bench [THREADS]: parameters that each optimizer updates a second on this CPU, beside
// libtorch's fused AdamW in fp32, as JSON. One matrix of 4,096 x 4,096; the median of 5 steps after one.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/ops/_fused_adamw.h>
#include <tetrad/base/error.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "optim_adamw.h"
#include "optim_adamw_nvfp4.h"

namespace tetrad::bench {
namespace {

constexpr std::int64_t kSide = 4096;

double median_seconds(const std::function<void(std::int64_t)>& step) {
  std::vector<double> times;
  for (std::int64_t i = 1; i <= 6; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    step(i);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (i > 1) times.push_back(taken.count());
  }
  std::nth_element(times.begin(), times.begin() + 2, times.end());
  return times[2];
}

void check(const Status& status) {
  if (!status.ok()) throw Error("[bench] " + status.message);
}

double measure(Optimizer& optimizer, const at::Tensor& gradient) {
  check(optimizer.configure({}));
  Parameter p;
  p.name = "w";
  p.shape = {kSide, kSide};
  p.format = Format::bf16;
  p.dense = at::randn({kSide, kSide}).mul_(0.02).to(at::kBFloat16);
  StateId id = -1;
  check(optimizer.prepare(p, 0.01, id));
  return median_seconds([&](std::int64_t i) {
    UpdateItem item;
    item.state = id;
    item.gradient.dense = gradient;
    StepFactors factors;
    factors.step = i;
    factors.lr = 1e-5;
    check(optimizer.update({&item, 1}, factors));
  });
}

int run(int argc, char** argv) {
  if (argc > 1) at::set_num_threads(std::max(1, std::atoi(argv[1])));
  const at::Tensor g = at::randn({kSide, kSide}).mul_(0.01), g16 = g.to(at::kBFloat16);
  nlohmann::json rows = nlohmann::json::array();
  const auto row = [&](const std::string& what, double seconds) {
    rows.push_back(
        {{"what", what}, {"ms", seconds * 1e3}, {"million_parameters_s", kSide * kSide / seconds / 1e6}});
  };
  const auto adamw = [](const char* master, const char* gradient) {
    return Options({{"master", std::string(master)},
                    {"gradient", std::string(gradient)},
                    {"beta1", 0.9},
                    {"beta2", 0.95},
                    {"eps", 1e-8},
                    {"offload", std::string("none")}});
  };
  {
    const at::Tensor w = at::randn({kSide, kSide}), m = at::zeros_like(w), v = at::zeros_like(w),
                     t = at::zeros({});
    row("libtorch fused AdamW, fp32", median_seconds([&](std::int64_t) {
          t.add_(1);
          at::_fused_adamw_({w}, {g}, {m}, {v}, {}, {t}, 1e-5, 0.9, 0.95, 0.01, 1e-8, false, false);
        }));
  }
  optim_adamw::OptimAdamW master(adamw("fp32", "fp32")), none(adamw("none", "bf16"));
  row("optim-adamw, bf16 with fp32 master", measure(master, g));
  row("optim-adamw, bf16 stochastic", measure(none, g16));
  for (std::int64_t planes = 1; planes <= 3; ++planes) {
    optim_adamw_nvfp4::OptimAdamWNvfp4 nvfp4(Options({{"planes", planes},
                                                      {"literal", false},
                                                      {"beta1", 0.9},
                                                      {"beta2", 0.95},
                                                      {"eps", 1e-8},
                                                      {"offload", std::string("none")}}));
    row("optim-adamw-nvfp4, planes " + std::to_string(planes), measure(nvfp4, g16));
  }
  std::puts(
      nlohmann::json{{"threads", at::get_num_threads()}, {"parameters", kSide * kSide}, {"optimizer", rows}}
          .dump(1)
          .c_str());
  return 0;
}

}  // namespace
}  // namespace tetrad::bench

int main(int argc, char** argv) {
  try {
    return tetrad::bench::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
