// The predecessor's command lines, as its users have them in their shell history:
//   [--gpu-limit-gb 108 ...] [script run-training-fp2.fsx] --kvc-backend fp2-model --prompt hi
//   --max-tokens=24
// Its flags are taken out of the words of a command line and become what a config says: `--set` arguments
// and, where no --config is given, the shipped config that does what the flags ask for. Contract: every flag
// does something or is refused with the reason; nothing is read and dropped. docs/config.md has the table.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace tetrad::cli {

struct LegacySituation {
  std::string command = "run";                // run | chat | generate: others have none of these flags
  bool has_config = false;                    // the command line names a config of its own
  bool terminal = false;                      // a person can type turns
  std::optional<std::uint64_t> memory_bytes;  // what this machine has, where known
};

struct LegacyFlags {
  std::vector<std::string> rest;          // the words that are not the predecessor's
  std::vector<std::string> sets;          // as after --set, texts quoted
  std::optional<std::string> config;      // file name of a shipped config, when no --config is given
  std::string config_reason;              // what chose it
  std::vector<std::string> script_flags;  // flags given that mean nothing without a scripted prompt
  std::vector<std::string> notes;         // lines for stderr
  bool any = false;
};

// Names of all flags, for spelling hints. `command` as in LegacySituation.
std::vector<std::string> legacy_flag_names(const std::string& command);

// Whether the word is one of the flags, and whether its value is the next word; for finding the command in a
// line.
bool is_legacy_flag(const std::string& word);

// A flag is `--name=value`, or `--name value` where the next word does not begin with "--"; a switch without
// a value is true. The last of several wins. Throws Error(usage) naming the flag, the value and what it
// takes.
LegacyFlags take_legacy_flags(std::span<const std::string> words, const LegacySituation& situation);

}  // namespace tetrad::cli
