// The schema for other readers: JSON Schema (draft-07) for editors, a plain listing for the terminal,
// Markdown for the docs. Each takes the option schemas of the plugins that should be covered.
#pragma once

#include "config/schema.h"

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

namespace tetrad::config {

// For editors (yaml-language-server and others). Nothing is required in it, because a base or a --set may
// give a key. The keys of an options map depend on the sibling `plugin`, for the plugins given.
nlohmann::json json_schema(std::span<const OptionSchema> plugins = {});

// One block per key: path, type, default, documentation. `only` limits it to the keys at and below a dotted
// path; throws Error(usage) with the nearest path when there is no such key.
std::string schema_listing(std::span<const OptionSchema> plugins = {}, const std::string& only = {});

// The chapter "Keys" of a Markdown page: one heading and one table per section and per plugin. docs/config.md
// holds it for the shipped plugins (scripts/update-docs.sh).
std::string schema_markdown(std::span<const OptionSchema> plugins = {});

}  // namespace tetrad::config
