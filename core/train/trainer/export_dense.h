// The model as it computes now, as a Hugging Face directory that transformers, llama.cpp's converter and
// Tetrad itself load: every matrix as the linear backend decodes it (what all paths multiply with), every
// norm in the same 16 bits as the graph uses, beside the source's config and tokenizer. Contract: the target
// appears complete or not at all; it must not exist before.
#pragma once

#include "model/transformer.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tetrad::train {

struct Exported {
  std::uint64_t bytes = 0;
  std::vector<std::string> files;
};

// `source`: the folder that config.json, the tokenizer and the chat template are copied from. Throws
// Error(usage) when `target` is there already, Error for what cannot be written.
Exported export_dense(model::Transformer& model, const std::filesystem::path& source,
                      const std::filesystem::path& target);
// Before hours of training: throws Error(usage) when the target could not be made.
void require_export_possible(const std::filesystem::path& target);

}  // namespace tetrad::train
