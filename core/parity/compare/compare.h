// The comparison of a parity result folder: every arm against the reference arm, as one JSON report that the
// report room shows. Contract: reads files only (plan.json, script.json, arms/*/...), all of which are
// treated as hostile; an arm that failed is a row with its error, a file that is cut short or contradicts
// another is one Error(usage) that names it. Figures are computed in double over the stored fp32 logits.
//
// The report (format "tetrad-parity-report", version 1):
//   plan          plan.json without the resolved configs
//   script        {"ids", "segments", "text_pieces", "made_by"}
//   arms[]        {"label", "index", "status", "error", "figures": {...}, "against_reference": {...} | null,
//                  "checks": [{"figure", "measured", "allowed", "source", "ok"}],
//                  "verdict": {"word", "reasons": [{"code", ...}]}}
//   self_noise    what the reference's arms with another feed differ by; null without such arms
//   verdict       {"word": pass | fail | not_comparable, "exit_code": 0 | 1 | 2}
//   sentences     {"en": [3], "zh-TW": [3]}
//   sha256        of the rest, see seal.h
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>

namespace tetrad::parity {

// Throws Error(usage) naming the file that is missing, cut short or contradictory.
nlohmann::json make_report(const std::filesystem::path& result_folder);

}  // namespace tetrad::parity
