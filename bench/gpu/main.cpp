// tetrad_gpu_bench [--sweep] [codec] [operand] [packed] [gemm] [optimizer] [sampling] [train]: all parts, or
// those that are named. JSON on stdout.
#include <cuda_runtime_api.h>
#include <tetrad/nvfp4/half.h>
#include <torch/version.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "bench.h"
#include "cli/doctor/machine.h"
#include "cli/host/build_commit.h"

namespace tetrad::bench {

Buffer gaussian_bf16(std::size_t n) {
  std::mt19937 rng(2);
  std::normal_distribution<float> normal(0.0F, 0.02F);
  std::vector<nvfp4::Bf16> host(std::min<std::size_t>(n, std::size_t{1} << 20));
  for (nvfp4::Bf16& v : host) v = nvfp4::to_bf16(normal(rng));
  Buffer out(n * 2);
  for (std::size_t at = 0; at < n; at += host.size())
    check(cudaMemcpy(out.as<nvfp4::Bf16>() + at, host.data(), std::min(host.size(), n - at) * 2,
                     cudaMemcpyHostToDevice),
          "cudaMemcpy");
  return out;
}

double median_ms(cudaStream_t stream, const std::function<void()>& work, int samples) {
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  std::vector<float> times;
  for (int i = -3; i < samples; ++i) {
    check(cudaEventRecord(begin, stream), "cudaEventRecord");
    work();
    check(cudaEventRecord(end, stream), "cudaEventRecord");
    check(cudaEventSynchronize(end), "cudaEventSynchronize");
    float ms = 0.0F;
    check(cudaEventElapsedTime(&ms, begin, end), "cudaEventElapsedTime");
    if (i >= 0) times.push_back(ms);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::nth_element(times.begin(), times.begin() + samples / 2, times.end());
  return times[static_cast<std::size_t>(samples / 2)];
}

double median_graph_ms(cudaStream_t stream, const std::function<void()>& work, int samples) {
  work();  // what a first launch does must not be captured
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  work();
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
  const double ms = median_ms(
      stream, [&] { check(cudaGraphLaunch(exec, stream), "cudaGraphLaunch"); }, samples);
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  return ms;
}

namespace {

double measure_copy(cudaStream_t stream) {
  const Buffer from(std::size_t{1} << 30, 256), to(std::size_t{1} << 30);
  const double ms = median_ms(stream, [&] {
    check(cudaMemcpyAsync(to.as<void>(), from.as<void>(), from.bytes(), cudaMemcpyDeviceToDevice, stream),
          "copy");
  });
  return 2.0 * static_cast<double>(from.bytes()) / (ms * 1e-3);
}

// Where and of what the figures are, in the words of `host bench --json`.
nlohmann::json provenance(const cudaDeviceProp& device) {
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  const auto dotted = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
  nlohmann::json machine = cli::machine_facts();
  machine["device"] = {
      {"name", device.name},
      {"compute_capability", std::to_string(device.major) + "." + std::to_string(device.minor)},
      {"total_bytes", device.totalGlobalMem},
      {"multiprocessors", device.multiProcessorCount},
      {"l2_bytes", device.l2CacheSize},
      {"unified_memory", device.integrated != 0}};
  return {{"format", "tetrad-gpu-bench 1"},
          {"machine", machine},
          {"versions",
           {{"tetrad", TETRAD_VERSION},
            {"commit", cli::build_commit()},
            {"libtorch", TORCH_VERSION},
            {"cuda_runtime", dotted(runtime)},
            {"cuda_driver", dotted(driver)}}}};
}

int run(int argc, char** argv) {
  Context context;
  std::set<std::string> parts;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--sweep") {
      context.sweep = true;
    } else if (word == "codec" || word == "operand" || word == "packed" || word == "gemm" ||
               word == "optimizer" || word == "sampling" || word == "train") {
      parts.insert(word);
    } else {
      throw Error(ExitCode::usage,
                  "[bench] unknown argument '" + word +
                      "'; there are --sweep codec operand packed gemm optimizer sampling train");
    }
  }
  cudaDeviceProp device{};
  check(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
  check(cudaStreamCreate(&context.stream), "cudaStreamCreate");
  context.copy_rate = measure_copy(context.stream);
  nlohmann::json out = provenance(device);
  out["arguments"] = std::vector<std::string>(argv + 1, argv + argc);
  out["device"] = device.name;
  out["copy_gb_s"] = context.copy_rate / 1e9;
  const auto wanted = [&](const char* part) { return parts.empty() || parts.contains(part); };
  if (wanted("codec")) out["codec"] = codec_rates(context);
  if (wanted("operand")) out["operand"] = operand_rates(context);
  if (wanted("packed")) out["packed"] = packed_rates(context);
  if (wanted("gemm")) out["gemm"] = gemm_rates(context);
  if (wanted("optimizer")) out["optimizer"] = optimizer_rates(context);
  if (wanted("sampling")) out["sampling"] = sampling_rates(context);
  if (wanted("train")) out["train"] = train_rates(context);
  std::puts(out.dump(1).c_str());
  return 0;
}

}  // namespace
}  // namespace tetrad::bench

int main(int argc, char** argv) {
  try {
    return tetrad::bench::run(argc, argv);
  } catch (const tetrad::Error& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 1;
  }
}
