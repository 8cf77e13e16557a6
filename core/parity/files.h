// The files of a parity result folder: names, formats and versions, shared by what plans and runs the arms
// (core/parity/plan, core/cli/parity), what an arm writes (core/parity/arm) and what compares and shows them
// (core/parity/compare, core/parity/report). Every file is written whole (io::write_file): a reader finds all
// of it or none.
//
//   plan.json      the arms, what they differ in, their resolved configs; written before any arm runs
//   script.json    the tokens that every arm scores, made by the reference arm
//   arms/NN-slug/  one folder for each arm:
//     arm.json       what it found; written last, so that its presence says that the arm is done
//     *.safetensors  its logits, hidden states and weight updates
//     engine.log     what its engine said on stderr
//   report.json, .csv, .html  the comparison; made again at any time from the files above
#pragma once

namespace tetrad::parity {

inline constexpr const char* plan_file = "plan.json";
inline constexpr const char* script_file = "script.json";
inline constexpr const char* report_json_file = "report.json";
inline constexpr const char* report_csv_file = "report.csv";
inline constexpr const char* report_html_file = "report.html";
inline constexpr const char* arms_folder = "arms";

// In the folder of an arm.
inline constexpr const char* arm_file = "arm.json";
inline constexpr const char* logits_file = "logits.safetensors";
inline constexpr const char* layers_file = "layers.safetensors";
inline constexpr const char* updates_file = "updates.safetensors";
inline constexpr const char* engine_log_file = "engine.log";

// "format" of each JSON file; all have "version": format_version.
inline constexpr const char* plan_format = "tetrad-parity-plan";
inline constexpr const char* script_format = "tetrad-parity-script";
inline constexpr const char* arm_format = "tetrad-parity-arm";
inline constexpr const char* report_format = "tetrad-parity-report";
inline constexpr int format_version = 1;

}  // namespace tetrad::parity
