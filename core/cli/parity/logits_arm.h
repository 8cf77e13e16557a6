// An arm whose logits come from a file instead of a run (parity.logits_file): `input_ids` int64 [T] and
// `logits` float32 [T, V], as `host logits` and scripts/write_transformers_logits.py write them. The file's
// metadata may say more: "segments" (JSON, as in script.json), "tokenizer_sha256", "engine".
#pragma once

#include "parity/plan/plan.h"

#include <filesystem>

namespace tetrad::cli {

// Checks the file, copies its tensors into the arm's folder and writes arm.json; the reference's becomes the
// script. Throws Error naming the file and what is wrong with it, or where its ids are not the script's.
void take_logits_file(const parity::Plan& plan, const parity::Arm& arm,
                      const std::filesystem::path& result_folder);

}  // namespace tetrad::cli
