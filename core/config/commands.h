// What `host config validate|show|schema|diff` do, without the command line: parsed arguments in, text on a
// stream out. Results go to `out`, warnings to `err`. Errors are thrown as ConfigError (its what() is ready
// to print, one line per error, each starting with its place) or Error, except where `json` is asked for:
// then they are part of the output. The return value is the exit code.
#pragma once

#include "config/resolve.h"

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

namespace tetrad::config {

struct CommandContext {
  std::ostream& out;
  std::ostream& err;
  OptionLookup option_schema;                              // of one plugin
  std::function<std::vector<OptionSchema>()> all_schemas;  // of every plugin that was found; may be empty
  Surroundings surroundings = {};
};

struct ConfigArguments {
  std::string file;
  std::vector<std::string> sets;
};

// `host config validate FILE... [--set a.b=c] [--json]`: "FILE: ok" for each, or the errors of all of them.
// With json one object: {"ok": bool, "files": [{"file", "ok", "hash" | "errors": [{file, line, column,
// message, text}], "warnings"}]}.
struct ValidateArguments {
  std::vector<std::string> files;
  std::vector<std::string> sets;
  bool json = false;
};
int validate_command(const ValidateArguments& arguments, const CommandContext& context);

// `host config show FILE [--set a.b=c] [--origin] [--json] [--key a.b]`: the resolved config as YAML or JSON.
struct ShowArguments {
  ConfigArguments config;
  bool origins = false;  // with json: {"config": ..., "origins": {"a.b": "file:line:col"}, "hash": ...}
  bool json = false;
  std::string key;  // only the value at this path; empty = all
};
int show_command(const ShowArguments& arguments, const CommandContext& context);

// `host config schema [KEY] [--json | --markdown]`: all keys with type, default and documentation; --json is
// a JSON Schema for editors.
struct SchemaArguments {
  bool json = false;
  bool markdown = false;
  std::string key;
};
int schema_command(const SchemaArguments& arguments, const CommandContext& context);

// `host config diff A B [--set a.b=c] [--json]`: the keys whose resolved values differ, with both origins.
// `sets` apply to both. Ends with exit code 0 whether they differ or not.
struct DiffArguments {
  std::string a;
  std::string b;
  std::vector<std::string> sets;
  bool json = false;
};
int diff_command(const DiffArguments& arguments, const CommandContext& context);

}  // namespace tetrad::config
