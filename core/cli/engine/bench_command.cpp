// `bench`: prefill and decode tokens per second with so many tokens in the context (the depth), each beside
// the share of the machine's copy rate that the bytes it must read come to. The tokens are random, the same
// in every run. Each figure is the median of `bench.repeats`, after one round that is not counted (pages,
// caches, graphs, the eval weight cache).
#include "cli/engine/bench_figures.h"
#include "cli/engine/commands.h"
#include "cli/engine/conversation_record.h"
#include "cli/engine/copy_rate.h"
#include "cli/engine/session.h"
#include "io/atomic_file.h"
#include "io/memory.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

namespace tetrad::cli {
namespace {

struct Plan {
  std::vector<std::int64_t> depths;
  std::int64_t prefill = 0, decode = 0;  // tokens
  int repeats = 0;
};

Plan read_plan(Session& session) {
  const nlohmann::json& options = session.config().at("bench");
  Plan plan{options.at("depths").get<std::vector<std::int64_t>>(), options.at("prefill").get<std::int64_t>(),
            options.at("decode").get<std::int64_t>(), options.at("repeats").get<int>()};
  std::sort(plan.depths.begin(), plan.depths.end());
  plan.depths.erase(std::unique(plan.depths.begin(), plan.depths.end()), plan.depths.end());
  const std::int64_t most = plan.depths.back() + std::max(plan.prefill, plan.decode + 1);
  if (most > session.context().max_tokens()) {
    throw Error(
        ExitCode::usage,
        fmt::format("[bench] depth {} needs a context of {} tokens, the limit is {}; lower bench.depths, "
                    "bench.prefill or bench.decode, or raise model.max_context",
                    plan.depths.back(), most, session.context().max_tokens()));
  }
  return plan;
}

class Bench {
 public:
  Bench(Session& session, Plan plan) : session_(session), plan_(std::move(plan)) {
    std::mt19937_64 draw(0);
    const auto vocabulary = static_cast<std::uint64_t>(session.model().config().vocab_size);
    const auto most =
        static_cast<std::size_t>(plan_.depths.back() + std::max(plan_.prefill, plan_.decode + 1));
    for (std::size_t i = 0; i < most; ++i) ids_.push_back(static_cast<std::int32_t>(draw() % vocabulary));
  }

  std::vector<BenchRow> run() {
    prefill(0);
    decode(0);
    weight_bytes_ = step_weight_bytes(session_.model());
    std::vector<BenchRow> rows;
    for (const std::int64_t depth : plan_.depths) rows.push_back(measure(depth));
    return rows;
  }

  std::int64_t weight_bytes() const noexcept { return weight_bytes_; }

 private:
  BenchRow measure(std::int64_t depth) {
    BenchRow row;
    row.depth = depth;
    row.prefill_tokens = plan_.prefill;
    row.decode_tokens = plan_.decode;
    for (int i = 0; i < plan_.repeats; ++i) {
      row.prefill_seconds.push_back(prefill(depth));
      row.decode_seconds.push_back(decode(depth));
      if (::isatty(STDERR_FILENO) == 1)
        std::fprintf(stderr, "\r[bench] depth %lld, %d of %d%s", static_cast<long long>(depth), i + 1,
                     plan_.repeats, i + 1 == plan_.repeats ? "\n" : "");
    }
    generate::Context& context = session_.context();
    row.kv_bytes = context.retains() ? context.kv_memory().used_bytes : 0;
    const std::int64_t chunk = session_.config().at("model").at("prefill_chunk").get<std::int64_t>();
    row.prefill_bytes = (plan_.prefill + chunk - 1) / chunk * weight_bytes_ + row.kv_bytes;
    row.decode_bytes = weight_bytes_ + row.kv_bytes;
    return row;
  }

  // Seconds to read plan.prefill tokens that follow `depth` others, up to the choice of the next one.
  double prefill(std::int64_t depth) {
    at_depth(depth);
    const auto start = std::chrono::steady_clock::now();
    finish(session_.context().feed(tokens(depth, plan_.prefill)));
    return since(start);
  }

  // Seconds of plan.decode single tokens. The one before them is not counted: after a prefill it may record
  // a graph.
  double decode(std::int64_t depth) {
    at_depth(depth);
    finish(session_.context().feed(tokens(depth, 1)));
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t i = 1; i <= plan_.decode; ++i) finish(session_.context().feed(tokens(depth + i, 1)));
    return since(start);
  }

  // As greedy sampling does: the host knows which token is next.
  void finish(const at::Tensor& logits) {
    if (!session_.context().best()) sink_ = logits.argmax().item<std::int64_t>();
    if (session_.control().interrupt().load()) throw Error("[bench] interrupted");
  }

  void at_depth(std::int64_t depth) {
    generate::Context& context = session_.context();
    // A cache that cannot be cut is filled again here, so that nobody's time is measured with it.
    if (context.length() > depth) context.truncate(context.truncates() ? depth : 0);
    if (context.length() < depth) context.append(tokens(context.length(), depth - context.length()));
    if (session_.device().runtime != nullptr)
      session_.device().runtime->synchronize(session_.device().device.index());
  }

  std::span<const std::int32_t> tokens(std::int64_t begin, std::int64_t count) const {
    return std::span(ids_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
  }

  static double since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Session& session_;
  Plan plan_;
  std::vector<std::int32_t> ids_;
  std::int64_t weight_bytes_ = 0;
  std::int64_t sink_ = 0;
};

nlohmann::json machine(Session& session) {
  nlohmann::json facts = session.run().args.value("machine", nlohmann::json::object());
  facts["threads"] = at::get_num_threads();
  facts["cpu_capability"] = at::get_cpu_capability();
  facts["device"] = nullptr;
  if (DeviceRuntime* runtime = session.device().runtime; runtime != nullptr) {
    const DeviceInfo info = runtime->info(session.device().device.index());
    facts["device"] = {{"name", info.name},
                       {"compute_capability", fmt::format("{}.{}", info.major, info.minor)},
                       {"total_bytes", info.total_bytes},
                       {"unified_memory", info.unified_memory}};
  }
  return facts;
}

}  // namespace

int run_bench(Control& control) {
  MemoryWatch memory;
  Session session(control, memory);
  Bench bench(session, read_plan(session));
  const std::vector<BenchRow> rows = bench.run();
  const nlohmann::json used = memory_record(session);  // before the buffers of the copy are there
  const CopyRate rate = measure_copy_rate(session.device());

  nlohmann::json versions = session.run().args.value("versions", nlohmann::json::object());
  versions["libtorch"] = TORCH_VERSION;
  nlohmann::json record = {
      {"format", "tetrad-bench 1"},       {"run", session.identity().to_json()},
      {"machine", machine(session)},      {"versions", versions},
      {"copy_rate", rate.to_json()},      {"weight_bytes_per_step", bench.weight_bytes()},
      {"load_s", session.load_seconds()}, {"memory", used},
      {"rows", nlohmann::json::array()}};
  for (const BenchRow& row : rows) record["rows"].push_back(row.to_json(rate.bytes_per_second));
  const nlohmann::json& args = session.run().args;
  if (args.contains("out")) io::write_file(args.at("out").get<std::string>(), record.dump(2) + "\n");
  if (args.value("json", false)) {
    print(record.dump() + "\n");
  } else {
    print(bench_table(rows, rate.bytes_per_second));
    print(fmt::format("copy rate: {}; a step reads {} of weights\n", rate.describe(),
                      io::format_gib(static_cast<std::uint64_t>(bench.weight_bytes()))));
  }
  write_record(session, {{"result", record}});
  return 0;
}

}  // namespace tetrad::cli
