#include "cli/engine/bench_figures.h"

#include "model/names.h"
#include "model/weight_bytes.h"

#include <fmt/format.h>

#include <algorithm>

namespace tetrad::cli {
namespace {

nlohmann::json phase(std::int64_t tokens, const std::vector<double>& seconds, std::int64_t bytes,
                     double passes, double copy_rate) {
  const double middle = median(seconds);
  return {{"tokens", tokens},
          {"median_s", middle},
          {"tok_s", static_cast<double>(tokens) / middle},
          {"seconds", seconds},
          {"bytes_read", bytes},
          {"copy_rate_share", static_cast<double>(bytes) * passes / middle / copy_rate}};
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

nlohmann::json BenchRow::to_json(double copy_rate) const {
  return {{"depth", depth},
          {"prefill", phase(prefill_tokens, prefill_seconds, prefill_bytes, 1.0, copy_rate)},
          {"decode",
           phase(decode_tokens, decode_seconds, decode_bytes, static_cast<double>(decode_tokens), copy_rate)},
          {"kv_bytes", kv_bytes}};
}

std::string bench_table(const std::vector<BenchRow>& rows, double copy_rate) {
  std::string text = fmt::format("{:>8} {:>9} {:>12} {:>7}   {:>9} {:>12} {:>7}\n", "depth", "prefill",
                                 "tok/s", "copy", "decode", "tok/s", "copy");
  for (const BenchRow& row : rows) {
    const nlohmann::json figures = row.to_json(copy_rate);
    const nlohmann::json &prefill = figures["prefill"], &decode = figures["decode"];
    text += fmt::format("{:>8} {:>9} {:>12.1f} {:>5.1f} %   {:>9} {:>12.1f} {:>5.1f} %\n", row.depth,
                        row.prefill_tokens, prefill["tok_s"].get<double>(),
                        prefill["copy_rate_share"].get<double>() * 100, row.decode_tokens,
                        decode["tok_s"].get<double>(), decode["copy_rate_share"].get<double>() * 100);
  }
  return text;
}

std::int64_t step_weight_bytes(model::Transformer& model) {
  const LinearMemory memory = model.backend().memory();
  const bool cached = model.setup().path == Path::training && memory.eval_cache_bytes > 0;
  const auto element = static_cast<std::int64_t>(c10::elementSize(model.setup().dtype));
  std::int64_t bytes = 0;
  bool opaque = false;
  for (const Parameter& parameter : model.parameters()) {
    if (parameter.name == model::embedding_name && !model.config().tie_word_embeddings) continue;
    opaque = opaque || parameter.format == Format::opaque;
    bytes += cached && parameter.role != Role::norm ? parameter.numel() * element
                                                    : model::weight_bytes(parameter).total();
  }
  return opaque ? bytes + memory.weight_bytes : bytes;  // what only the backend knows the size of
}

}  // namespace tetrad::cli
