// One optimizer step over the parameters of a Qwen3-4B-shaped model: AdamW with w, g, m and v in NVFP4 (1, 2,
// 3 planes), and AdamW in fp32, each as one launch per matrix. Beside them the copy rate; torch's fused AdamW
// is measured by bench/gpu/optimizer_peer.py.
#include <nlohmann/json.hpp>

#include <memory>

#include "bench.h"
#include "cuda/plane_update_cuda.h"
#include "optim/cuda/dense_update.h"

namespace tetrad::bench {
namespace {

using optim_adamw_nvfp4::PlaneArgs;
using optim_adamw_nvfp4::Range;

struct Matrix {
  std::int64_t rows, cols;
};

// Qwen3-4B: 36 blocks, tied embedding.
std::vector<Matrix> qwen3_4b() {
  std::vector<Matrix> all = {{151936, 2560}};
  for (int i = 0; i < 36; ++i) {
    for (const Matrix m : {Matrix{4096, 2560},
                           {1024, 2560},
                           {1024, 2560},
                           {2560, 4096},
                           {9728, 2560},
                           {9728, 2560},
                           {2560, 9728}})
      all.push_back(m);
  }
  return all;
}

// Random codes and scales of about 1 for one plane of every matrix.
struct Plane {
  explicit Plane(std::int64_t elements)
      : codes(static_cast<std::size_t>(elements / 2), 256),
        scales(static_cast<std::size_t>(elements / 16), 0x40) {}
  Buffer codes, scales;
};

}  // namespace

nlohmann::json optimizer_rates(const Context& context) {
  const std::vector<Matrix> matrices = qwen3_4b();
  std::int64_t n = 0;
  for (const Matrix& m : matrices) n += m.rows * m.cols;
  nlohmann::json out = nlohmann::json::array();
  const auto row = [&](const std::string& what, double bytes_per_element, double ms) {
    const double rate = bytes_per_element * static_cast<double>(n) / (ms * 1e-3);
    out.push_back({{"what", what},
                   {"parameters", n},
                   {"ms", ms},
                   {"gb_s", rate / 1e9},
                   {"share_of_copy", rate / context.copy_rate}});
  };
  {
    const Plane w(n), g(n), m(n), r(n);
    const Buffer lo(static_cast<std::size_t>(n / 2), 256), lo2(static_cast<std::size_t>(n / 2), 256);
    const Buffer ranges(matrices.size() * 3 * sizeof(Range)), one(4), stop(4);
    std::vector<Range> start(matrices.size() * 3, Range{1.0F, 1.0F, 0x40, 0x40});
    check(cudaMemcpy(ranges.as<void>(), start.data(), ranges.bytes(), cudaMemcpyHostToDevice), "cudaMemcpy");
    const float unit = 1.0F;
    check(cudaMemcpy(one.as<void>(), &unit, 4, cudaMemcpyHostToDevice), "cudaMemcpy");
    check(cudaMemset(stop.as<void>(), 0, 4), "cudaMemset");
    for (int planes = 1; planes <= 3; ++planes) {
      std::uint32_t step = 0;
      const double ms = median_ms(context.stream, [&] {
        ++step;
        std::int64_t at = 0;
        for (std::size_t i = 0; i < matrices.size(); ++i) {
          PlaneArgs a;
          a.rows = matrices[i].rows;
          a.cols = matrices[i].cols;
          a.w[0] = w.codes.as<std::uint8_t>() + at / 2;
          a.w[1] = lo.as<std::uint8_t>() + at / 2;
          a.w[2] = lo2.as<std::uint8_t>() + at / 2;
          a.w_scales = w.scales.as<std::uint8_t>() + at / 16;
          a.m = m.codes.as<std::uint8_t>() + at / 2;
          a.m_scales = m.scales.as<std::uint8_t>() + at / 16;
          a.r = r.codes.as<std::uint8_t>() + at / 2;
          a.r_scales = r.scales.as<std::uint8_t>() + at / 16;
          a.g = g.codes.as<std::uint8_t>() + at / 2;
          a.g_scales = g.scales.as<std::uint8_t>() + at / 16;
          a.scale = one.as<float>();
          a.stop = stop.as<std::int32_t>();
          Range* slots = ranges.as<Range>() + 3 * i;
          a.range = slots + (step + 2) % 3;
          a.next_range = slots + step % 3;
          a.clear_range = slots + (step + 1) % 3;
          a.f = optim::adam_factors({}, 1e-5, 0.01, step);
          a.draws = {1, static_cast<std::uint32_t>(i), step};
          optim_adamw_nvfp4::cuda::plane_update(a, planes, context.stream);
          at += a.rows * a.cols;
        }
      });
      row("AdamW, w g m v NVFP4, planes " + std::to_string(planes),
          0.5625 * 4 + 0.5625 * 3 + (planes - 1) * 1.0, ms);
    }
  }
  // A quarter of the model at a time: 16 bytes a parameter do not fit every card.
  const std::int64_t part = n / 4 / 4096 * 4096;
  const Buffer w(static_cast<std::size_t>(part) * 4, 60), g(static_cast<std::size_t>(part) * 4, 60),
      m(static_cast<std::size_t>(part) * 4, 60), v(static_cast<std::size_t>(part) * 4, 60);
  const double ms = median_ms(context.stream, [&] {
    optim::DenseArgs a;
    a.w = w.as<void>();
    a.g = g.as<void>();
    a.m = m.as<float>();
    a.v = v.as<float>();
    a.rows = part / 4096;
    a.cols = 4096;
    a.f = optim::adam_factors({}, 1e-5, 0.01, 10);
    optim::cuda::dense_update(a, context.stream);
  });
  row("AdamW, all fp32 (a quarter of the parameters, times 4)", 28.0,
      ms * static_cast<double>(n) / static_cast<double>(part));
  return out;
}

}  // namespace tetrad::bench
