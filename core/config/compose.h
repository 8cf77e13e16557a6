// From files and --set arguments to one tree, before any schema check: `extends`, overrides, ${env:...} and
// pins. Rules: bases come first, in order, then the file itself, later files on the command line, then all
// --set arguments. Maps merge; scalars and lists replace. Two bases that set the same key differently are an
// error unless the extending file sets it (or one of them only inherits its value from a file that the other
// one overrides). Where a later layer chooses another plugin in a section, that section's former `options`
// are dropped with a warning.
#pragma once

#include "config/diagnostics.h"
#include "config/environment.h"
#include "config/schema.h"
#include "config/tree.h"

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace tetrad::config {

// What resolving takes from the process, so that tests can give it.
struct Surroundings {
  EnvironmentLookup environment = process_environment();
  std::filesystem::path current_directory;  // empty = the process's
};

// A key that a file fixed with `pin:`. The pinned value is what the key has once that file and its bases are
// read.
struct Pin {
  std::string path;  // dotted
  std::string hint;
  Origin where;
  Node tree;  // the composed tree of the pinning file
};

struct Composed {
  Node root;  // a map
  std::vector<Pin> pins;
  std::vector<std::string> files;       // every file read, in the order read, as shown to the user
  std::vector<std::string> main_files;  // those named by the user
  std::vector<std::string> sets;
  Surroundings surroundings;
  bool incomplete = false;  // a file could not be read: what it may hold is not reported as missing
  Diagnostics diagnostics;  // errors so far; validate() adds its own and throws all together
};

// Never throws for what is wrong in the config: that goes into `diagnostics`. `files` may be empty (all
// defaults).
Composed compose(std::span<const std::string> files, std::span<const std::string> sets,
                 const Surroundings& surroundings = {});

// A plugin that the config chooses, as far as that can be told before validation.
struct ChosenPlugin {
  std::string kind;  // "linear"
  std::string id;    // "backend-nvfp4"
  Origin where;
};

// For the sections with an options map: linear, kv_cache. Sections that do not name a plugin are left out.
std::vector<ChosenPlugin> chosen_plugins(const Composed& composed);

}  // namespace tetrad::config
