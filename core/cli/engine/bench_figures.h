// What `host bench` makes of its measurements: medians, tokens per second, and the share of the copy rate
// that the bytes which must be read at least come to. Plain arithmetic, apart from the measuring.
#pragma once

#include "model/transformer.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tetrad::cli {

struct BenchRow {
  std::int64_t depth = 0;  // tokens in the context before
  std::int64_t prefill_tokens = 0, decode_tokens = 0;
  std::vector<double> prefill_seconds, decode_seconds;  // one for each repeat; of all tokens together
  std::int64_t kv_bytes = 0;                            // keys and values of the context at the end
  std::int64_t prefill_bytes = 0;                       // read by a prefill at least
  std::int64_t decode_bytes = 0;                        // read for one token at least

  // {"depth", "prefill": {"tokens", "median_s", "tok_s", "seconds", "bytes_read", "copy_rate_share"},
  //  "decode": {the same; bytes_read of one token}, "kv_bytes"}
  nlohmann::json to_json(double copy_rate) const;
};

// Lines for people, one for each row, under a heading.
std::string bench_table(const std::vector<BenchRow>& rows, double copy_rate);

// Bytes of weights that one pass reads: every matrix that is multiplied and every norm, in the form in which
// it is kept (the dequantised one where an eval cache holds it); the embedding only where it is the head too.
std::int64_t step_weight_bytes(model::Transformer& model);

// The middle value, or the mean of the two middle ones. `values` must not be empty.
double median(std::vector<double> values);

}  // namespace tetrad::cli
