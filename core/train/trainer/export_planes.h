// The trained model with its matrices in NVFP4 as they are stored: codes, block scales and the fp32 scale of
// each Parameter, bit for bit, in Tetrad's layout or compressed-tensors'. Nothing is encoded anew. What has
// no planes (norms, frozen or padded matrices), and what a layout cannot hold packed (compressed-tensors: the
// embedding and a head tied to it), is written dense as the backend decodes it. Contract: the target appears
// complete or not at all.
#pragma once

#include "checkpoint/layout.h"
#include "model/transformer.h"
#include "train/trainer/export_dense.h"

#include <filesystem>
#include <string>

namespace tetrad::train {

// hi_alone: the model is the hi plane (forward hi), so that lo is not written. For compressed-tensors, which
// holds one plane, lo is never written.
Exported export_planes(model::Transformer& model, checkpoint::Layout layout, bool hi_alone,
                       const std::filesystem::path& source, const std::filesystem::path& target);

// Before hours of training: throws Error(usage) when the parameters, as they are trained, cannot be written
// so.
void require_planes(const model::Transformer& model, checkpoint::Layout layout, bool hi_alone);

// What the export changes of the model, for people; empty when nothing.
std::string change_of_export(const model::Transformer& model, checkpoint::Layout layout, bool hi_alone);

}  // namespace tetrad::train
