// The command line of `host` as data. Only arguments.cpp knows the parser (CLI11). A command appears here,
// and so in
// --help, only once it works.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace tetrad::cli {

struct Arguments {
  // "run" (no command, with --config), "chat", "generate", "eval", "train", "bench", "logits", "gradients",
  // "tokenize", "convert", "guard", "guard status", "doctor", "config validate|show|schema|diff", "plugins
  // list|inspect|why|check", "runs list|show", "checkpoints list|verify", "parity", "parity show|compare"
  std::string command;
  std::vector<std::string> configs;
  std::vector<std::string> sets;
  std::vector<std::string> plugin_paths;
  std::string engine;  // --engine, hidden: another engine program, for tests of the launcher

  std::optional<std::string> prompt;
  std::optional<std::string> prompt_file;
  std::optional<std::string> ids;
  std::optional<std::string> out;
  std::optional<std::string> text;
  std::string model;  // tokenize

  std::vector<std::string> files;  // config commands
  std::string key;

  std::string plugin;                // plugins inspect, check: id or path; why: kind
  std::string device = "auto";       // plugins why, check
  std::vector<std::string> options;  // plugins check: key=value
  std::vector<std::string> cases;    // plugins check: patterns
  double timeout_secs = 60;          // plugins check: for each case; doctor --verify: for all

  std::string limit_gb = "auto";  // guard
  std::string soft_gb = "none";
  std::vector<std::string> sensors;
  std::string report;
  std::string log;
  double log_mb = 64;
  bool refuse_blind = false;
  bool verify = false;  // guard; doctor, where `out` and `device` belong to it
  double over_secs = 0;
  double poll_secs = 0.5;
  double host_floor_gb = 0.5;
  std::vector<std::string> program;  // after "--"

  std::string language = "en";    // --lang: of a run's summary
  std::string runs_dir = "runs";  // runs list|show
  std::string run_name;           // runs show
  std::size_t most = 20;          // runs list; 0 = all
  std::string checkpoint_dir;     // checkpoints list|verify
  // From the predecessor's flags (legacy_flags.h): lines for stderr, and flags that need a scripted prompt.
  std::vector<std::string> notes;
  std::vector<std::string> script_flags;

  // convert
  std::string from, to, format, config_from;
  std::string profile = "te", global_scale = "power_of_two", head = "auto", embedding = "dense";
  std::vector<std::string> keep;
  double max_shard_gb = 5;

  // parity
  std::vector<std::string> sweeps;  // --sweep
  std::string resume, html, csv;
  bool layers = false;
  bool yes = false;

  bool json = false;
  bool raw = false;        // generate, logits
  int repeat = 1;          // generate
  bool dry_run = false;    // train
  bool decode = false;     // tokenize
  bool origins = false;    // config show
  bool markdown = false;   // config schema
  bool no_engine = false;  // plugins why
};

// What to do instead when the line was answered already (--help, --version): the text for stdout.
struct Answer {
  std::string text;
};

// Takes the predecessor's flags too; what they mean stands in `configs` and `sets` then, before the --set
// arguments. Throws Error(usage) with one line that names the wrong word and, where one is near, the right
// one. Exactly one of the two results.
struct Parsed {
  Arguments arguments;
  std::optional<Answer> answer;
};
Parsed parse_arguments(int argc, const char* const* argv);

}  // namespace tetrad::cli
