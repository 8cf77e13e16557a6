// Checking one value against one field (internal to the config room): types, ranges, words, texts typed late,
// paths.
#pragma once

#include "config/compose.h"
#include "config/diagnostics.h"
#include "config/schema.h"
#include "config/tree.h"

#include <string>

namespace tetrad::config {

// The typed value; Kind::invalid after its error has been reported. `path` is the dotted path for messages.
// Types list and text_map included; sections and options maps are validate.cpp's.
Node check_value(const Field& field, const Node& node, const std::string& path, const Composed& composed,
                 Diagnostics& diagnostics);

// `node`, which is null, where the field takes null; else Kind::invalid after its error has been reported.
Node check_null(const Field& field, const Node& node, const std::string& path, Diagnostics& diagnostics);

// "path: expected a list, got 'x'" at the node's place, with a hint where the mistake is a known one.
void report_wrong_type(const Field& field, const Node& node, const std::string& path,
                       Diagnostics& diagnostics);

// `node` with a path made absolute by the field's meaning; other nodes as they are. A relative input path is
// looked for below the current directory, then beside the file that the value stands in (the first main file
// for defaults and
// --set), then one folder above that; when it is nowhere, it is taken as below the current directory.
Node absolute_path_value(const Field& field, const Node& node, const Composed& composed);

}  // namespace tetrad::config
