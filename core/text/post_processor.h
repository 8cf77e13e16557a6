// The "post_processor" of tokenizer.json as far as ids go: the special tokens put before and after a text
// when the caller asks for them. Supported: null, ByteLevel (offsets only, no ids), TemplateProcessing,
// Sequence.
#pragma once

#include "text/json_view.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace tetrad::text {

struct PostProcessor {
  std::vector<std::int32_t> before, after;

  using IdOf = std::function<std::optional<std::int32_t>(std::string_view)>;
  // `id_of` looks a token up in the vocabulary. Throws Error naming a type that is not supported or an
  // unknown token.
  static PostProcessor parse(const JsonView& json, const IdOf& id_of);
};

}  // namespace tetrad::text
