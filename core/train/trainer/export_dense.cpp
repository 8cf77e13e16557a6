#include "train/trainer/export_dense.h"

#include "checkpoint/new_directory.h"
#include "io/safetensors_writer.h"
#include "train/trainer/export_folder.h"

#include <fmt/format.h>
#include <tetrad/base/error.h>
#include <unistd.h>

#include <system_error>
#include <utility>

namespace tetrad::train {
namespace fs = std::filesystem;
namespace {

constexpr const char* kWeights = "model.safetensors";

}  // namespace

void require_export_possible(const fs::path& target) {
  std::error_code failed;
  if (fs::exists(target, failed))
    throw Error(ExitCode::usage, fmt::format("[export] {} is there already; name a folder that is not "
                                             "(train.export_dir), or remove it",
                                             target.string()));
  const fs::path parent = fs::absolute(target).parent_path();
  if (::access(parent.c_str(), W_OK) != 0)
    throw Error(ExitCode::usage, fmt::format("[export] the folder {} cannot be written to", parent.string()));
}

Exported export_dense(model::Transformer& model, const fs::path& source, const fs::path& given) {
  const fs::path target = fs::absolute(given).lexically_normal();
  require_export_possible(target);
  const at::ScalarType dtype = model.setup().dtype;
  try {
    checkpoint::NewDirectory staging(target, "export");
    std::vector<io::TensorSpec> specs;
    for (const Parameter& p : model.parameters()) specs.push_back({p.name, export_dtype(dtype), p.shape});
    io::SafetensorsWriter writer(staging.path() / kWeights, std::move(specs), {{"format", "pt"}});
    Exported exported;
    exported.bytes = writer.file_bytes();
    for (const Parameter& p : model.parameters()) {
      const at::Tensor host = exported_values(model, p);
      writer.append(p.name, {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
    }
    writer.finish();
    exported.files = write_companions(source, staging.path(), dtype, nullptr);
    exported.files.insert(exported.files.begin(), kWeights);
    staging.commit();
    return exported;
  } catch (const fs::filesystem_error& e) {
    throw Error(fmt::format("[export] {}: {}", target.string(), e.what()));
  }
}

}  // namespace tetrad::train
